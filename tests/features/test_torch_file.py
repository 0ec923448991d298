"""The reader of PyTorch's old files: against PyTorch, against a writer of its own, and against pickles that attack."""

import collections
import hashlib
import io
import os
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from jaxunreg.features import torch_file
from jaxunreg.features.torch_file import read_torch_tensors
from jaxunreg.features.weights_file import WeightsError


class Storage:
    """What the writer below pickles as a reference, as PyTorch does with its storages."""

    def __init__(self, kind: type, key: str, values: np.ndarray, length: int | None = None) -> None:
        self.reference = ("storage", kind, key, "cpu", values.size if length is None else length, None)
        self.key, self.values = key, values


class Tensor:
    """Pickled as PyTorch pickles a tensor: a call of `torch._utils._rebuild_tensor_v2`."""

    def __init__(self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.storage, self.arguments = storage, (storage, offset, shape, strides, False, collections.OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.reference if isinstance(obj, Storage) else None


@pytest.fixture
def torch_names(monkeypatch) -> types.ModuleType:
    """Modules that have nothing but the names that such a file asks for, so that PyTorch need not be there."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch", "__qualname__": name}))

    def _rebuild_tensor_v2(*_):
        raise AssertionError("not to be called")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    torch._utils = utils
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch


def content_of(tensors: object, storages: tuple[Storage, ...] = (), little_endian: bool = True) -> bytes:
    stream = io.BytesIO()
    for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": little_endian}):
        pickle.dump(head, stream, protocol=2)
    Pickler(stream, protocol=2).dump(tensors)
    pickle.dump([storage.key for storage in storages], stream, protocol=2)
    for storage in storages:
        stream.write(storage.values.size.to_bytes(8, "little") + storage.values.tobytes())
    return stream.getvalue()


def read(folder: Path, content: bytes) -> dict[str, np.ndarray]:
    path = folder / "weights.pth"
    path.write_bytes(content)
    return dict(read_torch_tensors(path, hashlib.sha256(content).hexdigest()))


@pytest.fixture
def good(torch_names) -> tuple[bytes, np.ndarray, np.ndarray]:
    """A file of three tensors. Two share a storage."""
    numbers, counts = np.arange(12, dtype=np.float32), np.array([7], np.int64)
    first, second = (
        Storage(torch_names.FloatStorage, "140", numbers),
        Storage(torch_names.LongStorage, "150", counts),
    )
    tensors = collections.OrderedDict(
        whole=Tensor(first, 0, (3, 4), (4, 1)),
        turned=Tensor(first, 4, (4, 2), (1, 4)),
        count=Tensor(second, 0, (), ()),
    )
    return content_of(tensors, (first, second)), numbers, counts


def test_tensors_come_back_with_their_shape_dtype_and_strides(good, tmp_path):
    content, numbers, _ = good
    tensors = read(tmp_path, content)
    assert list(tensors) == ["whole", "turned", "count"]
    np.testing.assert_array_equal(tensors["whole"], numbers.reshape(3, 4), strict=True)
    np.testing.assert_array_equal(tensors["turned"], numbers.reshape(3, 4)[1:].T, strict=True)
    np.testing.assert_array_equal(tensors["count"], np.int64(7))
    assert not tensors["whole"].flags.writeable


def test_what_pytorch_wrote_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24, dtype=torch.float64)
    tensors = collections.OrderedDict(
        half=torch.rand(3, 5).half(),
        part=base[4:].reshape(4, 5)[:, 1:3],
        turned=base.reshape(4, 6).T,
        scalar=torch.tensor(3),
        empty=torch.zeros(0, 3),
        flags=torch.tensor([True, False]),
    )
    tensors._metadata = {"": {"version": 1}}
    path = tmp_path / "weights.pth"
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    own = read_torch_tensors(path, hashlib.sha256(path.read_bytes()).hexdigest())
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(own[name], tensor.numpy(), strict=True)
    torch.save(tensors, path)
    with pytest.raises(WeightsError, match=r"zip format; expected .* before version 1.6; save the tensors as .safeten"):
        read_torch_tensors(path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_nothing_is_unpickled_before_the_hash_is_checked(good, tmp_path, monkeypatch):
    path = tmp_path / "weights.pth"
    path.write_bytes(good[0])
    monkeypatch.setattr(torch_file, "_TensorUnpickler", None)
    with pytest.raises(WeightsError, match=r"SHA-256 [0-9a-f]{64}; expected the SHA-256 0000"):
        read_torch_tensors(path, "0" * 64)
    with pytest.raises(WeightsError, match=r"no readable file of weights .* pass the path of one"):
        read_torch_tensors(tmp_path / "none.pth", "0" * 64)


def test_a_file_cut_short_anywhere_is_refused(good, tmp_path):
    content = good[0]
    for length in range(len(content)):
        with pytest.raises(WeightsError):
            read(tmp_path, content[:length])
    with pytest.raises(WeightsError, match="3 bytes behind its last storage"):
        read(tmp_path, content + b"abc")


def test_a_changed_byte_in_the_pickles_raises_nothing_but_weights_error(good, tmp_path):
    content = good[0]
    rng = np.random.default_rng(0)
    for position in range(len(content) - 80):
        changed = bytearray(content)
        changed[position] = rng.integers(256)
        try:
            read(tmp_path, bytes(changed))
        except WeightsError:
            continue


class Attack:
    """Pickled as a call of any function."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("place", ["head", "object", "keys"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(place, protocol, tmp_path):
    victim = tmp_path / "victim"
    attack = pickle.dumps(Attack(os.mkdir, str(victim)), protocol)
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    before = {"head": b"", "object": head, "keys": head + pickle.dumps({}, 2)}[place]
    with pytest.raises(WeightsError, match=r"a pickle that asks for \w+.mkdir; expected tensors alone; do not use"):
        read(tmp_path, before + attack)
    assert not victim.exists()


@pytest.mark.parametrize(
    "name",
    ["builtins.eval", "os.system", "torch.load", "torch._utils.import_module", "collections.namedtuple", "torch.nn"],
)
def test_every_other_name_is_refused(name, tmp_path):
    module, _, attribute = name.rpartition(".")
    with pytest.raises(WeightsError, match=f"asks for {name}"):
        read(tmp_path, f"c{module}\n{attribute}\n.".encode())


def test_a_type_of_storage_cannot_be_called(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read"):
        read(tmp_path, b"\x80\x02ctorch\nFloatStorage\n)R.")


def test_a_tensor_must_lie_inside_its_storage(torch_names, tmp_path):
    numbers = np.arange(12, dtype=np.float32)
    storage = Storage(torch_names.FloatStorage, "1", numbers)
    for offset, shape, strides in [
        (9, (2, 2), (2, 1)),
        (12, (), ()),
        (0, (13,), (1,)),
        (0, (2, 2), (100, 1)),
        (0, (2**40,), (0,)),
        (-1, (2,), (1,)),
        (3, (2,), (-1,)),
        (0, (2, 2), (1,)),
    ]:
        with pytest.raises(WeightsError):
            read(tmp_path, content_of({"x": Tensor(storage, offset, shape, strides)}, (storage,)))
    longer = Storage(torch_names.FloatStorage, "1", numbers, length=1000)
    with pytest.raises(WeightsError, match="a storage of 12 numbers; expected 1000"):
        read(tmp_path, content_of({"x": Tensor(longer, 0, (500,), (1,))}, (longer,)))


def test_only_a_dictionary_of_tensors_of_a_little_endian_machine_is_read(tmp_path):
    for wrong in ([1, 2], {"x": 1.0}, {3: 4}):
        with pytest.raises(WeightsError, match="not a dictionary of tensors"):
            read(tmp_path, content_of(wrong))
    with pytest.raises(WeightsError, match="big-endian"):
        read(tmp_path, content_of({}, little_endian=False))
    with pytest.raises(WeightsError, match="another beginning"):
        read(tmp_path, pickle.dumps(5))
