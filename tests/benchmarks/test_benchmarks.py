"""Every benchmark runs from beginning to end, on tiny networks, and its figures fit each other."""

import dataclasses
import importlib.util
import json
import re
from pathlib import Path

import pytest

from benchmarks import crops, devices, memory, profile, side, throughput, vmapped_sweep
from jaxunreg.errors import ArgumentError
from jaxunreg.inspection.config import DetectorConfig

with_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is the peer")


def test_devices_compares_each_count_with_no_mesh_at_all(tiny, tmp_path):
    path = tmp_path / "devices.json"
    found = devices.main(devices.Options(devices=(2,), rounds=2, seconds=1e-3, json=path))
    assert [(row["phase"], row["devices"]) for row in found] == [("train", 2), ("score", 2)]
    for row in found:
        assert 0 < row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
        assert row["images_per_second"] > 0
    assert json.loads(path.read_text()) == found


def test_more_devices_than_there_are_is_refused(tiny):
    with pytest.raises(SystemExit, match="got 8 devices; expected 9; lower --devices"):
        devices.main(devices.Options(devices=(9,)))


def test_a_sweep_of_members_is_compared_with_one_after_another(tiny, monkeypatch, tmp_path):
    monkeypatch.setitem(vmapped_sweep.CONFIGS, "small", tiny)
    monkeypatch.setitem(vmapped_sweep.BATCH_SIZE, "small", 4)
    options = vmapped_sweep.Options(
        networks=("small",),
        members=(2,),
        devices=(2,),
        vectorize=(False,),
        masked=True,
        steps=2,
        rounds=1,
        seconds=1e-3,
        json=tmp_path / "sweep.json",
        figure=tmp_path / "sweep.png",
    )
    found = vmapped_sweep.main(options)
    (row,) = found
    assert (row["devices"], row["members"], row["vectorize"]) == (2, 2, False)
    assert row["ratio"] == pytest.approx(row["images_per_second"] / row["one_after_another_images_per_second"])
    assert row["device_mb"] > 0
    assert json.loads(options.json.read_text()) == json.loads(json.dumps(found))
    assert options.figure.read_bytes()[1:4] == b"PNG"


def test_memory_of_one_image_is_measured_in_a_process_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "IMAGES", ((96, 192, 96),))
    path = tmp_path / "memory.json"
    memory.main(memory.Options(json=path))
    (row,) = json.loads(path.read_text())
    assert (row["height"], row["width"], row["patches"]) == (96, 192, 2)
    # Python with JAX takes some hundred MB, in this process and in that.
    assert 50 < row["peak_memory_mb"] < 10_000


@pytest.mark.parametrize("phase", ["score", "train"])
def test_profile_tells_the_layers_apart(tiny, capsys, tmp_path, phase):
    path = tmp_path / "profile.json"
    found = profile.main(profile.Options(network="toy", phase=phase, calls=1, json=path))
    printed = capsys.readouterr().out
    for layer in [*side.layer_flops("toy"), "the rest"]:
        assert layer in printed
    direct = sum(row["direct_mflop"] for row in found["layers"])
    assert direct == pytest.approx(side.flops("toy", phase) * found["batch_size"] / 1e6)
    assert 0 < found["products_ms"] < found["products_ms"] + found["rest_ms"]
    # So few channels need no Winograd filtering: the products are those of the direct convolution, or with borders.
    needed = found["products_at_peak_ms"] * found["matmul_gflops"]
    assert direct <= needed < 3 * direct
    assert json.loads(path.read_text()) == found


def test_crops_are_compared_with_whole_images(tiny, tmp_path):
    train = dataclasses.replace(DetectorConfig(space="pixels").train, batch_size=4)
    sizes = {"patch": 8, "depth": 2, "base_channels": 2, "latent_dim": 2, "stride": 4}
    detector = DetectorConfig(space="pixels", **sizes, train=train)
    path = tmp_path / "crops.json"
    found = crops.main(crops.Options(parts=16, size=12, detector=detector, rounds=1, seconds=1e-3, json=path))
    assert found["image_shape"] == [8, 8, 3]
    # Three channels in the first layer and six in the last, instead of one and two.
    assert 1 < found["operations_of_a_crop"] < 3
    speeds = found["crops_per_second"] / found["large_images_per_second"]
    assert found["ratio"] == pytest.approx(speeds * found["operations_of_a_crop"])
    assert 0 < found["feed_share"] < 1
    assert json.loads(path.read_text()) == found


def test_the_operations_of_a_layer_are_those_of_its_products(tiny):
    # One 4x4 convolution of stride 2 from 8x8x1 to 4x4x2: 16 positions, 16 weights each, 2 maps, 2 operations.
    layers = side.layer_flops("toy")
    assert layers["encoder Convolution_0"] == 2 * 16 * 16 * 1 * 2
    assert layers["decoder Convolution_1"] == 2 * layers["encoder Convolution_0"]
    assert side.flops("toy", "train") == 3 * sum(layers.values()) - layers["encoder Convolution_0"]


@pytest.mark.parametrize("phase", ["train", "score", "score_on_device"])
def test_without_a_peer_bfloat16_is_compared_with_our_float32(tiny, tmp_path, phase):
    path = tmp_path / "throughput.json"
    options = throughput.Options(
        networks=("toy",), phases=(phase,), peers=(), rounds=2, seconds=1e-3, matrix=256, processes=0, json=path
    )
    alone, row = found = throughput.main(options)
    assert (alone["dtype"], alone["peer"], alone.get("ratio")) == ("float32", "none", None)
    assert alone["images_per_second"] == row["peer_images_per_second"]
    assert (row["dtype"], row["peer"]) == ("bfloat16", "jaxunreg float32")
    assert 0 < row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    assert row["share_of_matmul"] == pytest.approx(row["gflops"] / row["matmul_gflops"])
    assert json.loads(path.read_text()) == found


@pytest.mark.parametrize("options", [throughput.Options, vmapped_sweep.Options])
def test_settings_that_measure_nothing_are_refused(options):
    with pytest.raises(ArgumentError, match=r"got rounds=0, .*; expected at least 1, "):
        options(rounds=0)


def test_a_missing_peer_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SystemExit, match=r"pip install -e '.\[bench\]'"):
        throughput.main(throughput.Options())


def test_one_side_prints_its_compile_time_and_memory(tiny, capsys):
    side.main("toy", "score", "float32", "jaxunreg")
    printed = json.loads(capsys.readouterr().out)
    assert printed["compile_seconds"] >= 0
    assert printed["peak_memory_mb"] > 50


@with_torch
def test_the_peer_computes_the_same_terms(tiny):
    side.check_agreement("toy")


@with_torch
def test_both_sides_take_turns_and_the_figure_shows_it(tiny, tmp_path):
    options = throughput.Options(
        networks=("toy",),
        phases=("train", "score", "score_on_device"),
        dtypes=("float32",),
        peers=("eager",),
        rounds=1,
        seconds=1e-3,
        matrix=256,
        processes=0,
        figure=tmp_path / "throughput.png",
    )
    found = throughput.main(options)
    phases = ("train", "score", "score_on_device")
    assert [(row["phase"], row["peer"]) for row in found] == [(phase, "eager") for phase in phases]
    for row in found:
        assert row["ratio"] == pytest.approx(row["images_per_second"] / row["peer_images_per_second"])
    assert options.figure.read_bytes()[1:4] == b"PNG"


def test_every_benchmark_is_tested():
    folder = Path(side.__file__).parent
    measured = {path.stem for path in folder.glob("*.py") if "\ndef main(" in path.read_text(encoding="utf-8")}
    tests = "\n".join(path.read_text(encoding="utf-8") for path in Path(__file__).parents[1].rglob("test_*.py"))
    imported = {name for line in re.findall(r"from benchmarks import (.*)", tests) for name in line.split(", ")}
    assert measured <= imported | set(re.findall(r"from benchmarks\.(\w+) import", tests))
