"""Arrays of a safetensors file, read into memory that JAX uses."""

import jax
import numpy as np
import pytest
import safetensors.numpy

from jaxunreg import tensor_file
from jaxunreg.tensor_file import read_tensors


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "odd": rng.normal(size=3).astype(np.float16),
        "map": rng.normal(size=(5, 7, 2)).astype(np.float32),
        "none": np.zeros((0, 4), np.float32),
        "scalar": np.array(2.5, np.float32),
        "more": rng.normal(size=(11, 13)).astype(np.float16),
    }


def test_the_arrays_are_those_of_the_library(arrays, tmp_path, compiled):
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file(arrays, path, metadata={"unit": "nats"})
    before = len(compiled)
    found, metadata = read_tensors(path)
    assert len(compiled) == before
    assert metadata == {"unit": "nats"}
    assert set(found) == set(arrays)
    for name, array in safetensors.numpy.load_file(path).items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_they_are_in_memory_once(arrays, tmp_path, monkeypatch):
    read: dict[int, tuple[int, ...]] = {}
    put = jax.device_put

    def noting(array, **options):
        read[array.ctypes.data] = array.shape
        return put(array, **options)

    safetensors.numpy.save_file(arrays, tmp_path / "a.safetensors")
    monkeypatch.setattr(tensor_file.jax, "device_put", noting)
    found, _ = read_tensors(tmp_path / "a.safetensors")
    for name, array in found.items():
        if array.size:
            assert read[array.unsafe_buffer_pointer()] == array.shape, name


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content[:9], lambda _: b"mine"])
def test_a_damaged_file_is_refused(change, arrays, tmp_path):
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file(arrays, path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(safetensors.SafetensorError):
        read_tensors(path)
