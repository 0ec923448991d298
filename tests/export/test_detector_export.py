"""A whole detector as a folder: the runner in it says what the detector says, and knows nothing of this package."""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import jaxunreg as ju
from jaxunreg.errors import CheckpointError
from jaxunreg.export import ExportMismatchError, check_export, export_detector
from jaxunreg.export import jaxunreg_runner as runner
from jaxunreg.inspection import RegionToTell
from jaxunreg.scoring.working_size import shrunk
from tests.export.small_detectors import SIZE, image, of_features, of_pixels

pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")


@pytest.fixture(scope="module")
def detectors() -> dict[str, ju.AnomalyDetector]:
    return {"features": of_features(), "pixels": of_pixels()}


@pytest.fixture(scope="module")
def folders(detectors, tmp_path_factory) -> dict[str, Path]:
    """A folder of each space, as ONNX."""
    root = tmp_path_factory.mktemp("exported")
    return {space: export_detector(detector, root / space) for space, detector in detectors.items()}


@pytest.mark.parametrize("space", ["features", "pixels"])
def test_the_runner_says_of_images_of_all_sizes_what_the_detector_says(detectors, folders, space):
    detector, exported = detectors[space], runner.Detector(folders[space])
    sizes = [SIZE, (45, 60), (16, 90), (300, 17), (31, 47), (200, 260)]
    images = [image(100 + k, *size, channels=detector.channels) for k, size in enumerate(sizes)]
    images[1][10:30, 20:40] = 255
    for found, one in zip(detector.inspect(images, pixels=True), images, strict=True):
        got, want = exported(one, heat_map=True), found.verdict
        assert got.score == pytest.approx(want.score, rel=1e-5)
        assert (got.is_anomalous, got.outcome, got.threshold) == (want.is_anomalous, want.outcome, want.threshold)
        assert (got.p_value, got.box) == (want.p_value, tuple(want.worst))
        heat = detector.heat_map(found.pixels)
        assert got.heat_map.shape == one.shape[:2]
        np.testing.assert_allclose(got.heat_map, heat, rtol=1e-4, atol=1e-5 * np.abs(heat).max())
        assert exported(one).heat_map is None
    assert exported(images[1]).is_anomalous
    checked = check_export(folders[space], detector, images)
    assert (checked.images, checked.other_boxes) == (len(images), 0)
    assert 1 <= checked.anomalous < len(images)
    assert 0.0 < checked.score_difference < 1e-5


def test_arrays_are_taken_as_a_detector_takes_files(detectors, folders):
    exported = runner.Detector(folders["features"])
    rgb, gray = image(3), image(4, channels=1)
    (want,), (of_gray,) = (detectors["features"].scores([one]) for one in (rgb, np.repeat(gray, 3, axis=2)))
    alpha = np.concatenate([rgb, gray], axis=2)
    for same in (alpha, rgb.astype(np.uint16) * 257, rgb / np.float32(255), rgb / 255.0):
        assert exported(same).score == pytest.approx(want.score, rel=1e-5)
    for same in (gray, gray[:, :, 0], np.concatenate([gray, gray], axis=2)):
        assert exported(same).score == pytest.approx(of_gray.score, rel=1e-5)
    # Pillow's own gray of RGB.
    as_gray = np.asarray(Image.fromarray(rgb).convert("L"))
    got = runner.prepared(rgb, 1)
    np.testing.assert_array_equal(got[:, :, 0], as_gray)
    np.testing.assert_allclose(runner.prepared(rgb / 255.0, 1)[:, :, 0] * 255, as_gray, atol=0.51)


@pytest.mark.parametrize("size", [(7, 90), (45, 60), (64, 33), (200, 260)])
def test_the_runner_resizes_as_pillow_does(size, monkeypatch):
    pixels = image(5)
    want = shrunk(pixels, size, 3).pixels
    np.testing.assert_allclose(runner.resized(pixels, size), want, rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(runner, "_MOST_PRODUCTS", 0)
    np.testing.assert_allclose(runner.resized(pixels, size), want, rtol=1e-5, atol=1e-6)


def test_a_large_working_image_is_seen_in_tiles(detectors, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxunreg.features.tiles._MOST_PIXELS", 500)
    monkeypatch.setattr("jaxunreg.features.tiles._SIDE", 40)
    folder = export_detector(detectors["features"], tmp_path / "tiled")
    about = json.loads((folder / "exported.json").read_text())
    assert (len(about["tiles"]), about["tile"]) == (4, [32, 40])
    # The detector still has the program that sees the image as a whole.
    assert check_export(folder, detectors["features"], [image(k) for k in range(5)]).score_difference < 1e-5


def test_ignored_places_named_regions_and_the_review_band_come_along(tmp_path):
    ignored, part = np.zeros((45, 60), bool), np.zeros((90, 120), bool)
    ignored[:12, :12] = True
    part[40:, 60:] = True
    detector = of_features(ignored=ignored, named_regions={"edge": RegionToTell(part, 0.1)}, review_rate=0.3)
    folder = export_detector(detector, tmp_path / "exported")
    images = [*(image(k) for k in range(200, 230)), image(0, 90, 120)]
    images[0][:6, :6] = 255
    images[-1][70:, 100:] = 255
    outcomes = set()
    exported = runner.Detector(folder)
    for one, want in zip(images, detector.scores(images), strict=True):
        got = exported(one)
        outcomes.add(got.outcome)
        assert (got.outcome, got.box, got.p_value) == (want.outcome, tuple(want.worst), want.p_value)
        for ours, theirs in zip(got.named, want.named, strict=True):
            assert ours._replace(score=0.0) == tuple(theirs._replace(score=0.0))
            assert ours.score == pytest.approx(theirs.score, rel=1e-4)
    assert outcomes == {"pass", "review", "reject"}
    with pytest.raises(runner.RunnerError, match="expected the ratio of the mask"):
        exported(image(0, 90, 90))


def test_stablehlo_says_the_same_and_tells_how_long_it_is_read(detectors, tmp_path):
    folder = export_detector(detectors["features"], tmp_path / "exported", format="stablehlo", platforms=["cpu"])
    assert check_export(folder, detectors["features"], [image(k) for k in range(3)]).score_difference < 1e-5
    about = json.loads((folder / "exported.json").read_text())
    assert "six months" in about["readable_by"]
    assert about["versions"]["jax"] == jax.__version__
    assert sorted(path.suffix for path in folder.iterdir()) == [".jaxexport", ".jaxexport", ".json", ".py"]


def test_a_process_without_this_package_and_without_jax_prints_the_verdicts(detectors, folders, tmp_path):
    odd, good = image(7), image(8)
    odd[10:30, 20:40] = 255
    np.save(tmp_path / "good.npy", good)
    Image.fromarray(odd).save(tmp_path / "odd.ppm")
    program = (
        "import runpy, sys\n"
        "sys.argv = ['runner', 'good.npy', 'odd.ppm', '--heat-maps', 'heat', '--threads', '1']\n"
        "try:\n"
        f"    runpy.run_path({str(folders['features'] / 'jaxunreg_runner.py')!r}, run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    print(stop.code, [name for name in ('jaxunreg', 'jax', 'PIL', 'scipy', 'onnx') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True)
    *rows, end = done.stdout.splitlines()
    assert end == "3 []"
    want = list(detectors["features"].scores([good, odd]))
    for row, verdict in zip(map(json.loads, rows), want, strict=True):
        assert row["score"] == pytest.approx(verdict.score, rel=1e-5)
        assert (row["verdict"], row["p_value"]) == (verdict.outcome, verdict.p_value)
        assert [row[name] for name in verdict.worst._fields] == list(verdict.worst)
    assert np.load(tmp_path / "heat" / "odd.ppm.npy").shape == odd.shape[:2]


def test_the_command_of_the_runner_reads_images_and_tells_what_it_cannot(folders, tmp_path, capsys):
    sixteen = (image(9, channels=1)[:, :, 0].astype(np.uint16) * 257).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5\n# a comment\n60 45\n65535\n" + sixteen.tobytes())
    (tmp_path / "bits.pgm").write_bytes(b"P5 60 45 1023 " + (sixteen.astype(np.uint16) >> 6).astype(">u2").tobytes())
    Image.fromarray(image(9, channels=1)[:, :, 0]).save(tmp_path / "a.png")
    words = ["--folder", str(folders["features"])]
    assert runner.main([*(str(tmp_path / name) for name in ("a.pgm", "a.png", "bits.pgm")), *words]) in (0, 3)
    first, same, near = (json.loads(line)["score"] for line in capsys.readouterr().out.splitlines())
    assert same == pytest.approx(first, rel=1e-5)
    assert near == pytest.approx(first, rel=0.05)
    for name, content in (("bad.pgm", b"P2\n1 1\n255\n0"), ("bad.png", b"no"), ("short.ppm", b"P6 9")):
        (tmp_path / name).write_bytes(content)
        assert runner.main([str(tmp_path / name), *words]) == 1
        assert f"got {tmp_path / name}, which cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((45, 60, 5), np.uint8), r"shape \[45, 60, 5\]"),
        (np.zeros((45, 60, 3), bool), "dtype bool"),
        (np.full((45, 60, 3), 2.0), "values from 2.0 to 2.0"),
        (np.full((45, 60, 3), np.nan), "values from nan"),
        (np.zeros((9, 60, 3), np.uint8), "9x60; expected at least 16"),
    ],
)
def test_the_runner_refuses_what_is_no_image(folders, bad, message):
    with pytest.raises(runner.RunnerError, match=message):
        runner.Detector(folders["features"])(bad)


@pytest.mark.parametrize("name", ["network.onnx", "exported.json", "density.onnx"])
def test_an_altered_folder_is_refused(folders, tmp_path, name):
    folder = shutil.copytree(folders["features"], tmp_path / "altered")
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(
        content.replace(b'"top_k": 3', b'"top_k": 1') if name.endswith("json") else content[:-9]
    )
    with pytest.raises(runner.RunnerError, match=f"where {name} is missing or altered"):
        runner.Detector(folder)


def test_an_export_of_another_detector_is_no_proof(detectors, folders, tmp_path):
    other = dataclasses.replace(detectors["features"], top_k=2)
    with pytest.raises(CheckpointError, match="exported from another detector or with other settings"):
        check_export(folders["features"], other, [image(0)])
    with pytest.raises(CheckpointError, match=r"exported\.json, which cannot be read"):
        check_export(tmp_path, other, [image(0)])


def test_a_score_or_a_verdict_that_differs_ends_the_check(detectors, folders, monkeypatch):
    detector = detectors["features"]
    judge = runner._Test.judge
    monkeypatch.setattr(runner._Test, "judge", lambda self, places: judge(self, places * 1.001))
    with pytest.raises(ExportMismatchError, match="1.0e-03 of it apart"):
        check_export(folders["features"], detector, [image(0)])
    monkeypatch.setattr(runner._Test, "judge", lambda self, places: (*judge(self, places)[:3], True))
    with pytest.raises(ExportMismatchError, match="the verdict anomalous .*expected normal, as the detector says"):
        check_export(folders["features"], detector, [image(0)])


def test_a_folder_for_another_platform_is_written_unchecked_and_a_missing_runtime_is_told(
    detectors, folders, tmp_path, monkeypatch
):
    folder = export_detector(detectors["features"], tmp_path / "tpu", format="stablehlo", platforms=["tpu"])
    assert jax.export.deserialize(bytearray((folder / "density.jaxexport").read_bytes())).platforms == ("tpu",)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for call in (
        lambda: export_detector(detectors["features"], tmp_path / "onnx"),
        lambda: check_export(folders["features"], detectors["features"], [image(0)]),
    ):
        with pytest.raises(ImportError, match=r"onnxruntime.*pip install 'jaxunreg\[export\]'"):
            call()


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(detectors, tmp_path, monkeypatch):
    detector, target = detectors["features"], tmp_path / "exported"
    with pytest.raises(ValueError, match=r"format='pickle'; expected one of \['onnx', 'stablehlo'\]"):
        export_detector(detector, target, format="pickle")
    with pytest.raises(ValueError, match="calibrated in bfloat16, native; expected one in float32"):
        export_detector(of_pixels(precision="bfloat16", lowering="native"), target)
    with monkeypatch.context() as patch:
        patch.setattr("jaxunreg.export.export_description._CARRIED", frozenset(("scorer", "top_k")))
        with pytest.raises(ValueError, match="does not carry it"):
            export_detector(detector, target)
    with monkeypatch.context() as patch:
        patch.setattr(runner._Test, "judge", lambda self, places: (0.0, 1.0, self.threshold, False))
        with pytest.raises(ExportMismatchError, match="a score of 0.0"):
            export_detector(detector, target)
    assert list(tmp_path.iterdir()) == []
    target.mkdir()
    (target / "mine.txt").touch()
    with pytest.raises(CheckpointError, match="already used"):
        export_detector(detector, target)
