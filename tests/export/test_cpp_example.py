"""The example in C++ says what the runner in Python says."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra 'export' is not installed")

from jaxunreg.export import export_detector
from jaxunreg.export import jaxunreg_runner as runner
from jaxunreg.inspection import RegionToTell
from tests.export.small_detectors import image, of_features, of_pixels

SOURCE = Path(__file__).parents[2] / "examples" / "cpp" / "inspect.cpp"
HEADERS = Path(os.environ.get("JAXUNREG_CPP_HEADERS", "/usr/include"))


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Path:
    """The example, compiled against the library that the wheel of ONNX Runtime brings."""
    libraries = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    needed = [HEADERS / "onnxruntime" / "onnxruntime_cxx_api.h", HEADERS / "nlohmann" / "json.hpp"]
    if not (sys.platform == "linux" and shutil.which("g++") and libraries and all(one.is_file() for one in needed)):
        pytest.skip("g++, the headers of ONNX Runtime and nlohmann's JSON, or ONNX Runtime's library is not there")
    folder = tmp_path_factory.mktemp("cpp")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(libraries[0])
    includes = [f"-isystem{HEADERS}", f"-isystem{HEADERS / 'onnxruntime'}"]
    words = ["-std=c++17", "-Wall", "-Wextra", "-Werror", *includes, f"-L{folder}", f"-Wl,-rpath,{folder}"]
    subprocess.run(["g++", *words, str(SOURCE), "-o", str(folder / "inspect"), "-lonnxruntime"], check=True)
    return folder / "inspect"


def write(path: Path, pixels: np.ndarray) -> str:
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path)
    return str(path)


def check(program: Path, folder: Path, files: list[str], capsys) -> set[str]:
    """Run both on images and compare all that they say; the verdicts that there were."""
    done = subprocess.run([program, folder, *files], capture_output=True, text=True)
    code = runner.main([*files, "--folder", str(folder)])
    assert (done.returncode, done.stderr) == (code, "")
    verdicts = set()
    for line, wanted in zip(done.stdout.splitlines(), capsys.readouterr().out.splitlines(), strict=True):
        got, want = json.loads(line), json.loads(wanted)
        for ours, theirs in zip((got, *got.get("regions", ())), (want, *want.get("regions", ())), strict=True):
            assert ours.pop("score") == pytest.approx(theirs.pop("score"), rel=1e-4)
        assert got == want
        verdicts.add(got["verdict"])
    return verdicts


def test_features_in_tiles_with_masks_regions_and_a_review_band(program, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("jaxunreg.features.tiles._MOST_PIXELS", 500)
    monkeypatch.setattr("jaxunreg.features.tiles._SIDE", 40)
    ignored, part = np.zeros((45, 60), bool), np.zeros((90, 120), bool)
    ignored[:12, :12] = True
    part[40:, 60:] = True
    detector = of_features(ignored=ignored, named_regions={"edge": RegionToTell(part, 0.1)}, review_rate=0.3)
    folder = export_detector(detector, tmp_path / "exported")
    images = [*(image(k) for k in range(200, 220)), image(0, 90, 120), image(1, channels=1), image(2, 30, 40)]
    images[-3][70:, 100:] = 255
    names = [f"{k}.ppm" if one.shape[2] == 3 else f"{k}.pgm" for k, one in enumerate(images)]
    files = [write(tmp_path / name, one) for name, one in zip(names, images, strict=True)]
    assert check(program, folder, files, capsys) == {"pass", "review", "reject"}


def test_pixels_patch_by_patch_and_a_picture_that_is_none(program, tmp_path, capsys):
    folder = export_detector(of_pixels(), tmp_path / "exported")
    sizes = [(16, 16), (45, 60), (31, 200)]
    images = [*(image(k, *size, channels=1) for k, size in enumerate(sizes)), image(9)]
    images[1][10:30, 20:40] = 255
    names = [f"{k}.{'ppm' if one.shape[2] == 3 else 'pgm'}" for k, one in enumerate(images)]
    files = [write(tmp_path / name, one) for name, one in zip(names, images, strict=True)]
    assert check(program, folder, files, capsys) == {"normal", "anomalous"}
    (tmp_path / "cut.pgm").write_bytes(b"P5\n# cut short\n60 45\n255\nabc")
    done = subprocess.run([program, folder, tmp_path / "cut.pgm"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "which is cut short; expected all of its pixels" in done.stderr
