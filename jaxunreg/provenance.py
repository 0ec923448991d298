"""What numbers were made with: versions and device, as every record of a run holds them."""

import importlib.metadata
import os
import platform

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "pillow")
"""What a detector's numbers depend on."""


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Versions of Python, of this package and of others.

    >>> sorted(versions(("numpy",)))
    ['jaxunreg', 'numpy', 'python']
    """
    found = {name: importlib.metadata.version(name) for name in ("jaxunreg", *packages)}
    return {"python": platform.python_version(), **found}


def device() -> str:
    """The kind of device that the networks run on, and the processor's cores."""
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind}, {os.cpu_count()} CPU cores"
