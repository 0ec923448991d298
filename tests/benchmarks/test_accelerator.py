"""The script for an accelerator runs from beginning to end on a CPU, and an error of one section stops no other."""

import importlib.util
import json
import sys
from types import SimpleNamespace

import jax
import pytest

from benchmarks import accelerator, float32, torch_device, vmapped_sweep

pytestmark = pytest.mark.slow


@pytest.fixture
def small(tiny, monkeypatch, tmp_path):
    """Options for tiny networks, without PyTorch."""
    monkeypatch.setattr(torch_device, "why_not", lambda *_: "torch not installed")
    monkeypatch.setitem(vmapped_sweep.CONFIGS, "small", tiny)
    monkeypatch.setitem(vmapped_sweep.BATCH_SIZE, "small", 4)

    def options(*only: str, **others) -> accelerator.Options:
        return accelerator.Options(size="small", only=only, json=tmp_path / "accelerator.json", **others)

    return options


def test_every_section_measures_something(small, capsys):
    options = small()
    result = accelerator.main(options)
    assert json.loads(options.json.read_text()) == json.loads(json.dumps(result))
    assert accelerator.failures(result) == []
    rows = {name: found["rows"] for name, found in result["sections"].items()}
    assert list(rows) == [
        "throughput, toy, train",
        "throughput, toy, score",
        "throughput, toy, score_on_device",
        "feature network, 32",
        "sharded scorer, shard_map",
        "sharded scorer, pmap",
        "training on several devices",
        "sweep, auto, 2 in one program",
        "exported scorer",
        "exported detector",
    ]
    for phase in ("train", "score", "score_on_device"):
        (row,) = rows[f"throughput, toy, {phase}"]
        assert (row["phase"], row["dtype"], row["peer"]) == (phase, "float32", "none")
        assert row["share_of_matmul"] > 0
    for backend in ("shard_map", "pmap"):
        assert rows[f"sharded scorer, {backend}"][0]["backend"] == backend
    (alike,) = rows["training on several devices"]
    # As far as a change of the last bit takes it, and no further.
    assert 0 < alike["distance"] < 4 * alike["rounding"] < 1e-3
    assert rows["sweep, auto, 2 in one program"][0]["members"] == 2
    (scorer,) = rows["exported scorer"]
    assert "cuda" in scorer["platforms"]
    assert scorer["difference"] < 1e-4
    assert rows["exported detector"][0]["images"] == 20
    printed = capsys.readouterr().out
    assert "peer: none, our side alone: torch not installed" in printed
    assert "10 of 10: exported detector" in printed
    assert "not measured" in printed


def test_a_section_that_fails_is_told_and_the_next_one_runs(small, monkeypatch, capsys):
    def broken(_):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(accelerator.exported, "scorer", broken)
    monkeypatch.setattr(accelerator.exported, "pixel_detector", lambda _: (_ for _ in ()).throw(SystemExit("ended")))
    options = small("exported", "training", devices=1)
    result = accelerator.main(options)
    assert result["sections"]["exported scorer"]["error"] == "RuntimeError: RESOURCE_EXHAUSTED: out of memory"
    assert result["sections"]["exported detector"]["error"] == "SystemExit: ended"
    assert result["sections"]["training on several devices"]["skipped"].startswith("skipped: one device")
    assert accelerator.failures(result) == ["exported scorer", "exported detector"]
    assert json.loads(options.json.read_text()) == result
    printed = capsys.readouterr().out
    assert "failed: exported scorer, exported detector" in printed
    assert "skipped: one device" in printed


def test_a_run_that_was_stopped_keeps_what_it_measured(small, monkeypatch, capsys):
    calls: list[str] = []
    monkeypatch.setattr(accelerator.exported, "scorer", lambda network: calls.append("scorer") or {"network": network})
    monkeypatch.setattr(accelerator.exported, "pixel_detector", lambda _: ("detector", []))
    monkeypatch.setattr(accelerator.exported, "detector", lambda *_: calls.append("detector") or 1 / 0)
    options = small("exported")
    first = accelerator.main(options)
    assert calls == ["scorer", "detector"]
    second = accelerator.main(options)
    # What failed runs again.
    assert calls == ["scorer", "detector", "detector"]
    assert second["sections"]["exported scorer"] == first["sections"]["exported scorer"]
    assert "exported scorer" in capsys.readouterr().out.split("kept from")[1]
    monkeypatch.setattr(accelerator, "device", lambda: "1 x another chip")
    accelerator.main(options)
    assert calls.count("scorer") == 2


def test_targets_are_the_slowest_scores_and_the_largest_sweep():
    def row(phase, peer, ratio):
        return {"phase": phase, "peer": peer, "ratio": ratio}

    sections = {
        "throughput, toy": {"rows": [row("score_on_device", "eager", 2.0), row("score", "eager", 0.5)]},
        "throughput, large": {"rows": [row("score_on_device", "eager", 1.6), row("score_on_device", "none", 0.1)]},
        "sweep, auto": {"rows": [{"network": "toy", "members": 128, "ratio": 3.0}]},
        "sweep, matmul": {"rows": [{"network": "toy", "members": 128, "ratio": 9.0}]},
        "exported scorer": {"error": "RuntimeError: "},
    }
    found = [(row["target"], row["found"]) for row in accelerator.against_targets(sections)]
    assert found == [(1.5, 1.6), (1.0, None), (8.0, 9.0)]


@pytest.mark.parametrize(
    ("platform", "installed", "cuda", "reason"),
    [
        ("cpu", True, False, None),
        ("gpu", True, True, None),
        ("gpu", True, False, "runs on the CPU alone here, and JAX on a GPU"),
        ("tpu", True, False, "does not run on a tpu"),
        ("cpu", False, False, "torch not installed: pip install"),
    ],
)
def test_pytorch_takes_turns_only_on_the_device_of_jax(monkeypatch, platform, installed, cuda, reason):
    torch = SimpleNamespace(__version__="2.13.0+cpu", cuda=SimpleNamespace(is_available=lambda: cuda))
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object() if installed else None)
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    found = torch_device.why_not()
    assert found is None if reason is None else reason in found
    assert torch_device.torch_device() == ("cuda" if platform == "gpu" else "cpu")
    if reason is not None:
        with pytest.raises(SystemExit, match="PyTorch is the peer of this benchmark"):
            torch_device.check_peer(leave_out="give no --peers")


def test_float32_is_multiplied_alike_on_an_accelerator(monkeypatch):
    torch = SimpleNamespace(products="highest", backends=SimpleNamespace(cudnn=SimpleNamespace(allow_tf32=True)))
    torch.get_float32_matmul_precision = lambda: torch.products
    torch.set_float32_matmul_precision = lambda value: setattr(torch, "products", value)

    def settings():
        return jax.config.jax_default_matmul_precision, torch.products, torch.backends.cudnn.allow_tf32

    monkeypatch.setitem(sys.modules, "torch", torch)
    before = settings()
    with float32.multiplied_as("float32"):
        assert settings() == before  # a CPU
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with float32.multiplied_as("tensorfloat32"):
        assert settings() == ("tensorfloat32", "high", True)
        with float32.multiplied_as("float32"):
            assert settings() == ("float32", "highest", False)
        assert settings() == ("tensorfloat32", "high", True)
    assert settings() == before
