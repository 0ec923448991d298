"""The environment of the processes whose start is measured."""

import os
from pathlib import Path


def environment_of_start(cache: Path) -> dict[str, str]:
    """Return this process's environment, with a folder of compiled programs and with Python's bytecode on disk.

    `pip install` writes bytecode. Where `PYTHONDONTWRITEBYTECODE` is set and the package is not installed, each start
    would compile all its files again, which takes 0.5 s.

    Args:
      cache: folder of compiled programs.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "JAX_COMPILATION_CACHE_DIR": str(cache)}
