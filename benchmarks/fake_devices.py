"""Fake devices on a machine without accelerators."""

import contextlib

import jax


def ensure_devices(count: int) -> None:
    """Have at least so many devices; on a CPU, fake ones that share its cores.

    Args:
      count: how many.

    Raises:
      SystemExit: there are fewer, and JAX has started already or has accelerators.
    """
    # JAX refuses the setting once it has started. Where there are accelerators, it counts for the CPU alone.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", count)
    if len(jax.devices()) < count:
        raise SystemExit(f"got {len(jax.devices())} devices; expected {count}; lower --devices")
