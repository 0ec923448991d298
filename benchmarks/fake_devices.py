"""Fake devices on a machine without accelerators."""

import contextlib

import jax


def ensure_devices(count: int) -> None:
    """Make sure that there are at least so many devices: on a CPU, fake ones that share its cores.

    Args:
      count: number of devices.

    Raises:
      SystemExit: there are fewer, and JAX has started already or has accelerators.
    """
    # JAX refuses the setting once it has started. If there are accelerators, it applies only to the CPU.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", count)
    if len(jax.devices()) < count:
        raise SystemExit(f"got {len(jax.devices())} devices; expected {count}; lower --devices")
