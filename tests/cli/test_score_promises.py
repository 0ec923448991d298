"""`jaxunreg score` for machines: review bands, regions, masks, maps, drift over several runs, and lots."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jaxunreg as ju
from jaxunreg.cli.main import main
from jaxunreg.datasets.folders.files import load_files
from jaxunreg.inspection import RegionToTell, find_regions
from tests.cli.drawn_files import good, odd, rows, write


@pytest.fixture(scope="module")
def new(tmp_path_factory) -> Path:
    """Six good parts and two odd ones."""
    folder = tmp_path_factory.mktemp("new")
    for k in range(6):
        write(folder / f"good{k}.png", good(500 + k))
    for k in range(2):
        write(folder / f"odd{k}.png", odd(600 + k))
    return folder


def scored(capsys, *words: str) -> tuple[int, list[dict], str]:
    """The exit code, the rows of JSON lines, and what is said besides."""
    code = main(["score", *map(str, words), "--format", "jsonl"])
    out, err = capsys.readouterr()
    return code, [json.loads(line) for line in out.splitlines()], err


@pytest.fixture(scope="module")
def told_model(model, parts, tmp_path_factory) -> Path:
    """The same model, calibrated with a mask, a region and a review band."""
    folder = tmp_path_factory.mktemp("told") / "model"
    plain = ju.AnomalyDetector.load(model)
    ignored, right = np.zeros((12, 15), bool), np.zeros((12, 15), bool)
    ignored[:2, :2], right[:, 7:] = True, True
    ju.calibrate_detector(
        plain.scorer,
        [good(k)[..., None] for k in range(900, 939)],
        stride=1,
        false_positive_rate=0.1,
        review_rate=0.4,
        ignored=ignored,
        named_regions={"right, upper": RegionToTell(right, 0.2)},
    ).save(folder)
    return folder


def test_a_review_band_is_asked_for_or_refused_with_what_it_needs(model, new, capsys):
    count = ju.AnomalyDetector.load(model).calibration.count
    code, found, err = scored(capsys, new, "--model", model, "--reject", "0.25", "--review", "0.6")
    assert code == 3
    for row in found:
        expected = "reject" if row["p_value"] <= 0.25 else "review" if row["p_value"] <= 0.6 else "pass"
        assert row["verdict"] == expected
        assert row["threshold"] > row["review_threshold"]
    assert {row["verdict"] for row in found} >= {"pass", "reject"}
    assert "images are rejected, " in err
    assert "are to be reviewed" in err
    for words, message in (
        (
            ["--reject", "0.001", "--review", "0.3"],
            f"got --reject 0.001; expected at least 1/({count} + 1) = {1 / (count + 1):.3g}, the lowest rate that "
            f"{count} held-out good parts can promise; raise --reject, or add {999 - count} good parts by `jaxunreg",
        ),
        (
            ["--reject", "0.3", "--review", "0.2"],
            "got --review 0.2; expected more than the 0.3 at which images are rej",
        ),
        (
            ["--reject", "0.3", "--false-positive-rate", "0.2"],
            "got --reject 0.3 and --false-positive-rate 0.2; expected",
        ),
    ):
        assert main(["score", str(new), "--model", str(model), *words]) == 1
        assert message in capsys.readouterr().err


def test_regions_masks_and_maps_say_the_same(told_model, new, tmp_path, capsys):
    words = [new, "--model", told_model, "--regions", "--pixel-rate", "0.3"]
    words += ["--masks", tmp_path / "masks", "--maps", tmp_path / "maps"]
    code, found, _ = scored(capsys, *words)
    assert code == 3
    detector = ju.AnomalyDetector.load(told_model)
    inspected = detector.inspect(load_files([new]), pixels=True)
    for row, one in zip(found, inspected, strict=True):
        heat = np.asarray(Image.open(row["map"]))
        assert heat.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(heat), ~one.counted)
        np.testing.assert_allclose(
            heat[one.counted], detector.heat_map(one.pixels, smooth=True)[one.counted], rtol=1e-6
        )
        mask = np.asarray(Image.open(row["mask"]))
        assert set(np.unique(mask)) <= {0, 255}
        assert (mask > 0).sum() == sum(region["area"] for region in row["regions"])
        expected = find_regions(detector.heat_map(one.pixels, smooth=True), detector.pixel_level(0.3), one.counted)
        listed = [{**region._asdict(), **region.box._asdict()} for region in expected]
        assert [{k: v for k, v in region.items() if k != "box"} for region in listed] == row["regions"]
        assert row["verdict"] in ("pass", "review", "reject")
        [region] = row["named_regions"]
        assert region["name"] == "right, upper"
        assert region["is_anomalous"] == (region["p_value"] <= 0.2)
    assert all(row["regions"] for row in found[6:])
    assert (
        main(
            [
                "score",
                *map(str, words[:-1]),
                str(tmp_path / "n"),
                "--map-format",
                "npy",
                "--heat-maps",
                str(tmp_path / "h"),
            ]
        )
        == 3
    )
    table = rows(capsys.readouterr().out)
    assert [int(row["regions"]) for row in table] == [len(row["regions"]) for row in found]
    assert table[-1]["named_regions"] in ("", "right, upper")
    for row, other in zip(table, found, strict=True):
        np.testing.assert_array_equal(np.load(row["map"], allow_pickle=False), np.asarray(Image.open(other["map"])))


def test_files_that_would_be_lost_or_levels_that_do_not_hold_are_refused(model, told_model, new, tmp_path, capsys):
    for words, message in (
        (["--masks", str(new / "masks")], "got --masks"),
        (["--maps", str(tmp_path / "a"), "--masks", str(tmp_path / "a")], "got one folder for two kinds of files"),
        (
            ["--regions", "--heat-map-stride", "3"],
            "got regions with --heat-map-stride 3; expected heat maps of the stride",
        ),
        (["--regions", "--pixel-rate", "0.001"], "got --pixel-rate 0.001; expected at least 1/(39 + 1)"),
        (["--lot", "1.5"], "got --lot 1.5; expected a number between 0 and 1"),
    ):
        assert main(["score", str(new), "--model", str(told_model), *words]) == 1
        assert message in capsys.readouterr().err
    old = ju.AnomalyDetector.load(model)
    dataclasses.replace(old, pixel_peaks=None).save(tmp_path / "old")
    assert main(["score", str(new), "--model", str(tmp_path / "old"), "--regions"]) == 1
    assert "jaxunreg recalibrate" in capsys.readouterr().err


def test_a_test_of_drift_goes_on_from_run_to_run(told_model, new, tmp_path, capsys):
    file = tmp_path / "drift.json"
    _, _, err = scored(capsys, new, "--model", told_model, "--drift", file)
    assert "no sign of drift" in err or "warning: " in err
    first = json.loads(file.read_text())
    assert first["steps"] == first["reading"]["parts"] == 8
    for _ in range(2):
        scored(capsys, *[new / f"odd{k}.png" for k in (0, 1)] * 4, "--model", told_model, "--drift", file)
    second = json.loads(file.read_text())
    assert second["steps"] == 24
    assert second["reading"]["above"] >= 16
    assert second["reading"]["excess"] > first["reading"]["excess"]
    assert second["reading"]["alarm"]
    assert "run of defects" in second["reading"]["text"]
    before = file.read_text()
    words = ["score", str(new), "--model", str(told_model), "--drift", str(file)]
    assert main([*words, "--reject", "0.2"]) == 1
    assert "name another file to begin again" in capsys.readouterr().err
    file.write_text(before.replace('"steps": 24', '"steps": 25'))
    assert main(words) == 1
    assert "with contents that do not match their SHA-256" in capsys.readouterr().err
    file.write_text("notes")
    assert main(words) == 1
    assert "with no JSON" in capsys.readouterr().err
    assert file.read_text() == "notes"


def test_a_lot_is_judged_as_a_whole(told_model, new, tmp_path, capsys):
    code, found, err = scored(capsys, new, "--model", told_model, "--lot", "0.3")
    p_values = np.array([row["p_value"] for row in found])
    rejected = ju.inspection.benjamini_hochberg(p_values, 0.3)
    assert [row["lot"] for row in found] == ["reject" if each else "pass" for each in rejected]
    assert rejected[6:].all()
    assert code == 3
    assert (
        f"lot: {rejected.sum()} of 8 parts are rejected; of the parts that such a rule rejects at most 30 % are good"
        in err
    )
    (tmp_path / "broken.png").write_bytes(b"")
    names = [new / "good0.png", new / "good1.png", tmp_path / "broken.png"]
    code, found, err = scored(capsys, *names, "--model", told_model, "--lot", "0.001", "--on-error", "skip")
    assert code == 0
    assert [row["lot"] for row in found] == [None, "pass", "pass"]
    assert "with 39 held-out good parts fewer than 50 parts are never rejected" in err


def test_an_image_that_the_masks_do_not_fit_is_named_or_skipped(told_model, new, tmp_path, capsys):
    wide = write(tmp_path / "wide.png", good(1, 12, 30))
    words = ["score", str(new / "good0.png"), str(wide), "--model", str(told_model)]
    assert main(words) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {wide}: has 12x30 pixels, and not the ratio of the model's masks of 12x15; ")
    assert main([*words, "--on-error", "skip"]) in (0, 3)
    table = rows(capsys.readouterr().out)
    assert [row["path"] for row in table if row["verdict"] == "skipped"] == [str(wide)]
    assert len(table) == 2
    assert main(["score", str(wide), "--model", str(told_model), "--on-error", "skip"]) == 1
    assert "got 1 images, none of which has the ratio" in capsys.readouterr().err
