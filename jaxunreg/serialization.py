"""Plain JSON data with a checksum, and fingerprints of arrays and files."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxunreg.errors import ArgumentError
from jaxunreg.typing import PyTree


def to_json(value: Any) -> Any:
    """Convert a value to plain JSON data: tuples become lists, NumPy scalars become Python's, paths become strings.

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


def with_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON data with a further entry: `sha256` of all the others, as `json.dumps` writes them.

    Args:
      content: data for `to_json`.

    >>> without_checksum(with_checksum({"threshold": 666.0}))
    {'threshold': 666.0}
    """
    content = to_json(content)
    return {**content, "sha256": _checksum(content)}


def without_checksum(content: Any) -> dict[str, Any]:
    """Check the data of `with_checksum`, and return them without their checksum.

    Raises:
      ArgumentError: the data were altered, or have no checksum.

    >>> without_checksum({**with_checksum({"threshold": 666.0}), "threshold": 966.0})
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got contents that do not match their SHA-256; expected what was written, unchanged
    """
    rest = {name: value for name, value in content.items() if name != "sha256"} if isinstance(content, dict) else {}
    if not rest or content.get("sha256") != _checksum(rest):
        raise ArgumentError("contents that do not match their SHA-256", "what was written, unchanged", field="sha256")
    return rest


def _checksum(content: Mapping[str, Any]) -> str:
    # Python writes a floating-point number so that reading gives the same number, and it keeps the order of the
    # entries.
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def file_hashes(folder: Path) -> dict[str, str]:
    """Return SHA-256 of each file below a folder, by its path there, in the order of the paths.

    Raises:
      OSError: a file cannot be read.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     _ = Path(name, "a.bin").write_bytes(b"bytes")
    ...     file_hashes(Path(name))["a.bin"][:8]
    '277089d9'
    """
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            found[path.relative_to(folder).as_posix()] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def fingerprint(tree: PyTree) -> str:
    """Return SHA-256 over the names, shapes, dtypes and bytes of a pytree's arrays.

    >>> import numpy as np
    >>> fingerprint({"a": np.zeros(3, np.float32)}) == fingerprint({"b": np.zeros(3, np.float32)})
    False
    """
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{array.shape}{array.dtype.str}".encode())
        # A view, because a copy of a memory-mapped file may not fit into memory.
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
