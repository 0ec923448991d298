"""The arrays of a safetensors file as JAX arrays, in memory only once."""

import json
import math
from pathlib import Path

import jax
import numpy as np
import safetensors

_DTYPES: dict[str, np.dtype] = {"F16": np.dtype(np.float16), "F32": np.dtype(np.float32)}

# JAX uses an array of NumPy on a CPU without a copy if its address is a multiple of this.
_ALIGNMENT = 64


def read_tensors(path: Path) -> tuple[dict[str, jax.Array], dict[str, str]]:
    """Read all arrays of a file, and its metadata.

    Each array is read into memory that JAX then uses. The functions of safetensors map the file and copy each array out
    of it, and JAX copies it again. With them, the 248 MB of a detector of 48x48 places take 0.18 s of processor time
    and a peak of 692 MB in a process that has imported JAX. Here they take 0.05 s and 422 MB.

    Args:
      path: the file, with arrays of float16 and float32.

    Returns:
      The arrays by their names, on the default device, and the metadata.

    Raises:
      safetensors.SafetensorError: the file is cut short, or of another kind.
      KeyError: an array has another dtype.
      OSError: the file cannot be read.

    >>> import safetensors.numpy, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.safetensors")
    ...     safetensors.numpy.save_file({"a": np.ones(2, np.float16)}, path, metadata={"unit": "nats"})
    ...     read_tensors(path)
    ({'a': Array([1., 1.], dtype=float16)}, {'unit': 'nats'})
    """
    arrays = {}
    with safetensors.safe_open(path, framework="numpy") as checked, path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        for name in checked.keys():  # noqa: SIM118 (it is no mapping)
            about = header[name]
            array = _empty(tuple(about["shape"]), _DTYPES[about["dtype"]])
            file.seek(8 + length + about["data_offsets"][0])
            file.readinto(array.reshape(-1).view(np.uint8).data)
            arrays[name] = jax.device_put(array, may_alias=True)
        return arrays, checked.metadata() or {}


def _empty(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return an array like `np.empty`, at an address that JAX takes."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)
