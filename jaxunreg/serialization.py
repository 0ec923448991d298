"""Plain JSON data, and fingerprints of arrays."""

import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxunreg.typing import PyTree


def to_json(value: Any) -> Any:
    """A value as plain JSON data: tuples become lists, NumPy scalars become Python's, paths become strings.

    >>> to_json({"image_shape": (32, 32, 3)})
    {'image_shape': [32, 32, 3]}
    """
    if isinstance(value, dict):
        return {str(name): to_json(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    return value


def fingerprint(tree: PyTree) -> str:
    """SHA-256 over the names, shapes, dtypes and bytes of a pytree's arrays.

    >>> import numpy as np
    >>> fingerprint({"a": np.zeros(3, np.float32)}) == fingerprint({"b": np.zeros(3, np.float32)})
    False
    """
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{array.shape}{array.dtype.str}".encode())
        # A view, since a copy of a memory-mapped file may not fit into memory.
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
