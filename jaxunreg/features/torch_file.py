"""The tensors of a PyTorch file in the serialisation before version 1.6, read without PyTorch.

Such a file is a sequence of pickles (magic number, version, description of the machine, the object, the names of the
storages), followed by the bytes of each storage. A pickle can run any code. So the SHA-256 of the file must be known,
and nothing is unpickled before it is checked. Even then, the unpickler knows only three names: ordered dictionaries,
tensors, and the types of their storages.
"""

import collections
import io
import math
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxunreg.features.weights_file import WeightsError, read_weights

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_DTYPES: dict[str, np.dtype] = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


def read_torch_tensors(path: Path, sha256: str) -> Mapping[str, np.ndarray]:
    """Read a dictionary of tensors that `torch.save` wrote in the serialisation before version 1.6.

    Args:
      path: the file.
      sha256: SHA-256 of its bytes, as 64 hexadecimal digits.

    Returns:
      Arrays by name, in the file's order. They are read-only views of one copy of the file.

    Raises:
      WeightsError: there is no such file, its SHA-256 or serialisation differs, it is cut short, or it holds anything
        other than a dictionary of tensors.
    """
    content, _ = read_weights(path, sha256)
    if content.startswith(b"PK"):
        raise WeightsError(
            f"{path}, which is in PyTorch's zip format",
            "the format that PyTorch wrote before version 1.6",
            "save the tensors as .safetensors",
        )
    try:
        return _read(content)
    except WeightsError as error:
        raise WeightsError(f"{path} with {error.got}", error.expected, "do not use this file") from error
    # A manipulated pickle can make the unpickler raise almost anything.
    except Exception as error:
        raise WeightsError(
            f"{path}, which cannot be read ({type(error).__name__}: {error})",
            "a dictionary of tensors that torch.save wrote before version 1.6",
            "the file is cut short or of another kind; copy it again",
        ) from error


class _StorageType(NamedTuple):
    dtype: np.dtype


class _Storage(NamedTuple):
    key: str
    dtype: np.dtype
    length: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    """Replace `torch._utils._rebuild_tensor_v2`: only note where the tensor lies."""
    lengths = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(type(length) is int and length >= 0 for length in lengths):
        raise WeightsError("a tensor without a place in a storage", "tensors alone")
    if len(shape) != len(strides) or math.prod(shape) > storage.length:
        raise WeightsError(f"a tensor of shape {tuple(shape)} in a storage of {storage.length}", "one that fits")
    if 0 not in shape and offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) >= (
        storage.length
    ):
        raise WeightsError(f"a tensor that ends outside of its storage of {storage.length}", "one that fits")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


class _TensorUnpickler(pickle.Unpickler):
    """An unpickler that knows ordered dictionaries, tensors and the types of storages. It refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _DTYPES:
            return _StorageType(_DTYPES[name])
        raise WeightsError(f"a pickle that asks for {module}.{name}", "tensors alone")

    def persistent_load(self, reference: Any) -> _Storage:
        kind, storage_type, key, _, length, view = reference
        if kind != "storage" or not isinstance(storage_type, _StorageType) or view is not None:
            raise WeightsError(f"a reference to {kind!r}", "storages of tensors alone")
        if type(key) is not str or type(length) is not int or length < 0:
            raise WeightsError(f"a storage {key!r} of length {length!r}", "a name and a length")
        return _Storage(key, storage_type.dtype, length)


def _read(content: bytes) -> dict[str, np.ndarray]:
    stream = io.BytesIO(content)

    def load() -> Any:
        return _TensorUnpickler(stream).load()

    if load() != _MAGIC or load() != _VERSION:
        raise WeightsError("another beginning than a file of PyTorch has", "a file that torch.save wrote")
    if load().get("little_endian") is not True:
        raise WeightsError("numbers of a big-endian machine", "little-endian ones")
    tensors, keys = load(), load()
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(tensor, _Tensor) for name, tensor in tensors.items()
    ):
        raise WeightsError("an object that is not a dictionary of tensors", "names and their tensors")
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    flat = {}
    for key in keys:
        storage = storages[key]
        length = int.from_bytes(stream.read(8), "little", signed=True)
        if length != storage.length:
            raise WeightsError(f"a storage of {length} numbers", f"{storage.length} of them")
        flat[key] = np.frombuffer(content, storage.dtype, length, stream.tell())
        stream.seek(length * storage.dtype.itemsize, io.SEEK_CUR)
    if stream.tell() != len(content):
        raise WeightsError(f"{len(content) - stream.tell()} bytes behind its last storage", "none")
    return {name: _view(flat[tensor.storage.key], tensor) for name, tensor in tensors.items()}


def _view(flat: np.ndarray, tensor: _Tensor) -> np.ndarray:
    steps = tuple(step * flat.itemsize for step in tensor.strides)
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, steps, writeable=False)
