"""The versions and the devices behind numbers, for the record of a run."""

import importlib.metadata
import os
import platform

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "pillow")
"""The packages that a detector's numbers depend on."""


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Return the versions of Python, of this package and of other packages, by name.

    >>> sorted(versions(("numpy",)))
    ['jaxunreg', 'numpy', 'python']
    """
    found = {name: importlib.metadata.version(name) for name in ("jaxunreg", *packages)}
    return {"python": platform.python_version(), **found}


def device() -> str:
    """Return number and kind of the devices that run the networks, and the number of CPU cores."""
    devices = jax.devices()
    return f"{len(devices)} x {devices[0].device_kind}, {os.cpu_count()} CPU cores"
