"""The benchmark of the feature network runs on images of 32x32, with its peer where that is installed."""

import importlib.util
import json

import numpy as np
import pytest

from benchmarks import features
from jaxunreg.errors import ArgumentError

with_torch = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "efficientnet_lite_pytorch")),
    reason="PyTorch is the peer",
)


def test_the_network_alone_is_measured(tmp_path, capsys):
    path = tmp_path / "features.json"
    options = features.Options(sizes=(32,), batches=(2,), peers=(), rounds=1, seconds=1e-3, processes=1, json=path)
    (row,) = features.main(options)
    assert (row["size"], row["batch"]) == (32, 2)
    assert row["milliseconds"] > 0
    assert min(row["compile_seconds_warm"], row["compile_seconds"]) > 0
    # Python with JAX takes some hundred MB.
    assert 50 < row["peak_memory_mb"] < 10_000
    assert "ratio" not in row
    assert json.loads(path.read_text()) == [row]
    assert "32x32" in capsys.readouterr().out


@with_torch
def test_both_sides_take_turns():
    options = features.Options(sizes=(32,), batches=(1,), rounds=1, seconds=1e-3, processes=0)
    (row,) = features.main(options)
    assert row["ratio"] == pytest.approx(row["peer_milliseconds"] / row["milliseconds"])
    assert {"torch", "efficientnet-lite-pytorch", "jax", "machine"} <= set(row)


@with_torch
@pytest.mark.parametrize("size", [33, 48])
def test_the_peer_sees_the_same_features(size):
    images = features.pictures(size, 2)
    own, other = (features.network(name, size)(images) for name in ("jaxunreg", "eager"))
    assert own.shape == other.shape == (2, -(-size // 8), -(-size // 8), 152)
    assert np.abs(own).max() > 1.0
    np.testing.assert_allclose(own, other, rtol=0, atol=1e-4)


def test_a_missing_peer_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match=r"pip install -e '.\[bench\]', or give no --peers"):
        features.main(features.Options())


def test_settings_that_measure_nothing_are_refused():
    with pytest.raises(ArgumentError, match=r"got rounds=0, .*; expected at least 1, "):
        features.Options(rounds=0)
