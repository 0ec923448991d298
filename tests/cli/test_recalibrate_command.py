"""`jaxunreg recalibrate`, and the masks of `jaxunreg fit`."""

import json

import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg.cli.main import main
from jaxunreg.cli.masks import read_ignored, read_regions
from tests.cli.drawn_files import TINY, good, write


@pytest.fixture(scope="module")
def more(tmp_path_factory):
    folder = tmp_path_factory.mktemp("more")
    for k in range(30):
        write(folder / f"{k:02}.png", good(1000 + k))
    return folder


def mask(rows: slice, columns: slice) -> np.ndarray:
    pixels = np.zeros((12, 15), np.uint8)
    pixels[rows, columns] = 255
    return pixels


def test_a_new_threshold_goes_into_another_folder_or_the_same(model, more, parts, tmp_path, capsys):
    before = ju.AnomalyDetector.load(model)
    assert (
        main(["recalibrate", str(model), "--normal", str(more), "--rate", "0.1", "--output", str(tmp_path / "m")]) == 0
    )
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'm'}\n"
    assert f"the threshold was {before.threshold:.4g}"[:20] in err
    assert "of the 30 parts were above it" in err
    after = ju.AnomalyDetector.load(tmp_path / "m")
    assert (after.calibration.count, after.false_positive_rate) == (before.calibration.count + 30, 0.1)
    assert ju.AnomalyDetector.load(model).threshold == before.threshold
    model_file = sorted((tmp_path / "m" / "model").rglob("*"))[-1]
    written = model_file.stat().st_mtime_ns
    # Once more, without what it knows already, and in place.
    write(tmp_path / "again" / "new.png", good(2000))
    write(tmp_path / "again" / "known.png", good(1003))
    assert main(["recalibrate", str(tmp_path / "m"), "--normal", str(tmp_path / "again")]) == 0
    assert "left out: 1 images that the model was made of" in capsys.readouterr().err
    again = ju.AnomalyDetector.load(tmp_path / "m")
    assert again.calibration.count == after.calibration.count + 1
    assert len(again.record["recalibrations"]) == 2
    assert model_file.stat().st_mtime_ns == written
    assert main(["recalibrate", str(tmp_path / "m"), "--normal", str(more)]) == 1
    assert "and the model was made of all its 30 images" in capsys.readouterr().err


def test_parts_that_were_selected_are_warned_of(model, more, tmp_path, capsys):
    for k in range(12):
        write(tmp_path / "bright" / f"{k}.png", (np.arange(180).reshape(12, 15) * k % 256).astype(np.uint8))
    assert main(["recalibrate", str(model), "--normal", str(tmp_path / "bright"), "--output", str(tmp_path / "m")]) == 0
    assert "warning: " in (err := capsys.readouterr().err)
    assert "false alarms are no more frequent than before" in err
    words = ["recalibrate", str(model), "--normal", str(more), "--output", str(tmp_path / "n")]
    assert main([*words, "--only-new", "--rate", "0.01"]) == 1
    assert "got 30 held-out normal images; expected at least 99 for a --rate of 0.01" in capsys.readouterr().err
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.tex").write_text("all of it")
    assert main([*words[:-1], str(tmp_path / "used")]) == 1
    assert "which is already used" in capsys.readouterr().err


def test_a_model_is_fitted_with_masks(parts, tmp_path, capsys):
    write(tmp_path / "masks" / "a.png", mask(slice(0, 2), slice(0, 3)))
    write(tmp_path / "masks" / "b.png", mask(slice(0, 3), slice(0, 2)))
    right = write(tmp_path / "right.png", mask(slice(None), slice(7, None)))
    words = ["fit", str(parts), "--output", str(tmp_path / "m"), *TINY, "--stride", "1"]
    words += ["--ignore", str(tmp_path / "masks"), "--region", f"right={right}:0.3", "--review-rate", "0.5"]
    assert main(words) == 0
    err = capsys.readouterr().err
    for told in ("4.44 % of the image is ignored", "region right: threshold", "% of normal images are reviewed"):
        assert told in err
    detector = ju.AnomalyDetector.load(tmp_path / "m")
    assert int(detector.ignored.sum()) == 8
    [region] = detector.named_regions
    assert (region.name, region.false_positive_rate, detector.review_rate) == ("right", 0.3, 0.5)
    assert json.loads((tmp_path / "m" / "detector.json").read_text())["mask_files"].keys() == {
        "ignored.png",
        "region-0.png",
    }
    assert main(words) == 0
    assert "is finished already" in capsys.readouterr().err
    square = write(tmp_path / "square.png", np.eye(12, dtype=np.uint8) * 255)
    assert main([*words, "--region", f"square={square}"]) == 1
    told = ".png of 12x15 (and 20 more) for the mask of region 'square' of 12x12; expected sides of the same ratio"
    assert told in capsys.readouterr().err
    assert main([*words, "--region", f"left={right}"]) == 1
    assert "it has other masks or regions" in capsys.readouterr().err


def test_masks_of_a_command_line_are_read_or_refused(tmp_path):
    path = write(tmp_path / "a.png", mask(slice(0, 2), slice(0, 3)))
    assert read_ignored(path).sum() == 6
    assert read_regions([f"a={path}", f"b={path}:0.01"])["b"].false_positive_rate == 0.01
    assert read_regions([f"a={path}"])["a"].false_positive_rate is None
    (tmp_path / "empty").mkdir()
    write(tmp_path / "two" / "a.png", mask(slice(0, 2), slice(0, 3)))
    write(tmp_path / "two" / "b.png", np.zeros((3, 3), np.uint8))
    for ignore, message in (
        (tmp_path / "none.png", "which does not exist"),
        (tmp_path / "empty", "which holds no mask"),
        (tmp_path / "two", "with masks of 3x3, 12x15; expected masks of one size"),
    ):
        with pytest.raises(ju.JaxunregError, match=message):
            read_ignored(ignore)
    for texts, message in (
        (["a"], "got --region a; expected NAME=MASK or NAME=MASK:RATE"),
        ([f"={path}"], "expected NAME=MASK"),
        ([f"a={path}", f"a={path}"], "got --region a twice"),
        (["a=none.png:0.1"], "but there is no file none.png"),
    ):
        with pytest.raises(ju.JaxunregError, match=message):
            read_regions(texts)
