"""`jaxunreg evaluate`: its numbers, its page, and which images it uses."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from PIL import Image

import jaxunreg as ju
from jaxunreg.cli.main import main
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.serialization import with_checksum, without_checksum
from tests.cli.drawn_files import good, odd, rows, write


def test_evaluate_agrees_with_scikit_learn_and_leaves_out_what_was_trained_on(parts, model, tmp_path, capsys):
    report = tmp_path / "report"
    command = ["evaluate", str(parts), "--model", str(model), "--output", str(report), "--bootstrap", "20"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "evaluating on 13 images (3 crack, 3 dent, 7 good)" in err
    assert out.splitlines()[-1] == str(report / "index.html")
    results = json.loads((report / "evaluation.json").read_text())
    table = rows((report / "scores.csv").read_text())
    detector = ju.AnomalyDetector.load(model)
    truth = np.array([row["label"] != "good" for row in table])
    assert truth.tolist().count(False) == 7
    for term in ("nelbo", "d", "a", "m"):
        scores = np.array([float(row[term]) for row in table])
        image = results["image"][term]
        assert image["roc_auc"]["value"] == pytest.approx(sklearn.metrics.roc_auc_score(truth, scores))
        assert image["average_precision"]["value"] == pytest.approx(
            sklearn.metrics.average_precision_score(truth, scores)
        )
        sizes = [Path(row["path"]) for row in table]
        normal = [Image.open(path) for path, is_odd in zip(sizes, truth, strict=True) if not is_odd]
        png = [_png_bytes(picture) for picture in normal]
        expected = scipy.stats.spearmanr(scores[~truth], png).statistic
        assert results["complexity"][term]["value"] == pytest.approx(expected)
        assert f"{image['roc_auc']['value']:.3f}" in out
    flagged = np.array([row["verdict"] == "anomalous" for row in table])
    m = np.array([float(row["m"]) for row in table])
    np.testing.assert_array_equal(flagged, m > detector.threshold)
    assert results["verdicts"]["false_positive_rate"] == flagged[~truth].mean()
    assert results["verdicts"]["true_positive_rate"] == flagged[truth].mean()
    assert results["defects"]["crack"]["found"] == 3
    # The dents have no masks, and count for the images only.
    kept = [row for row in table if row["label"] != "dent"]
    images = [np.asarray(Image.open(row["path"]))[..., None] for row in kept]
    heat = np.concatenate([np.ravel(x) for x in detector.heat_maps(images)])
    mask = np.concatenate([np.ravel(_mask(row)) for row in kept])
    assert results["pixel"]["m"]["roc_auc"] == pytest.approx(sklearn.metrics.roc_auc_score(mask, heat), abs=1e-5)
    page = (report / "index.html").read_text(encoding="utf-8")
    assert page.count("<img") == 3
    assert "notes.txt" in page
    assert main(command) == 0  # Into the same folder, which is an evaluation's.
    (report / "evaluation.json").unlink()
    capsys.readouterr()
    assert main(command) == 1
    assert "already used for something else" in capsys.readouterr().err


def _png_bytes(picture: Image.Image) -> int:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=6)
    return len(file.getvalue())


def _mask(row: dict) -> np.ndarray:
    mask = np.zeros((12, 15), bool)
    mask[2:10, 3:11] = row["label"] == "crack"
    return mask


def test_evaluate_uses_no_image_twice(parts, model, tmp_path, capsys):
    """A tree with some test images that were trained on, and a folder with none."""
    tree = tmp_path / "tree"
    train = load_folder(parts, progress=False).train
    for k, file in enumerate(train.files[:4]):
        for folder in ("train", "test") if k < 2 else ("train",):
            (tree / folder / "good").mkdir(parents=True, exist_ok=True)
            shutil.copy(file.path, tree / folder / "good" / f"new-{k}.png")
    for k in range(3):
        write(tree / "test" / "good" / f"fresh-{k}.png", good(300 + k))
        write(tree / "test" / "crack" / f"{k}.png", odd(300 + k))
    assert main(["evaluate", str(tree), "--model", str(model), "--bootstrap", "5"]) == 0
    out, err = capsys.readouterr()
    assert "evaluating on 6 images (3 crack, 3 good)" in err
    assert "new-0.png: is an image that the model was trained or calibrated on" in err
    assert "Pixels" not in out
    other = tmp_path / "other"
    for k in range(6):
        write(other / "good" / f"{k}.png", good(400 + k))
        write(other / "crack" / f"{k}.png", odd(400 + k))
    assert main(["evaluate", str(other), "--model", str(model), "--bootstrap", "5"]) == 0
    err = capsys.readouterr().err
    assert "evaluating on 12 images (6 crack, 6 good)" in err
    assert "the model was made of none of them" in err


def test_an_interrupted_evaluation_can_be_started_again(parts, model, tmp_path, monkeypatch, capsys):
    run = ["evaluate", str(parts), "--model", str(model), "--bootstrap", "5", "--output", str(tmp_path / "report")]

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("jaxunreg.reports.evaluation_figures.score_strips", stop)
        assert main(run) == 130
    assert main(run) == 0
    assert (tmp_path / "report" / "index.html").exists()


def test_a_split_on_disk_goes_before_the_fraction_that_fit_was_told(model, tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    # As `fit --test-fraction 0.2` leaves it.
    found = without_checksum(json.loads((folder / "detector.json").read_text()))
    assert found["record"]["data"]["test_fraction"] is None
    found["record"]["data"]["test_fraction"] = 0.2
    (folder / "detector.json").write_text(json.dumps(with_checksum(found)))
    tree = tmp_path / "tree"
    for k in range(2):
        write(tree / "train" / "good" / f"{k}.png", good(600 + k))
        write(tree / "test" / "good" / f"{k}.png", good(610 + k))
        write(tree / "test" / "crack" / f"{k}.png", odd(610 + k))
    capsys.readouterr()
    assert main(["evaluate", str(tree), "--model", str(folder), "--bootstrap", "5"]) == 0
    assert "evaluating on 4 images (2 crack, 2 good)" in capsys.readouterr().err


def test_the_page_lists_skipped_files_of_one_name(parts, model, tmp_path):
    data = tmp_path / "data"
    for kind, make in (("good", good), ("crack", odd)):
        for k in range(2):
            write(data / kind / f"{k}.png", make(700 + k))
        (data / kind / "notes.txt").write_text("")
    report = tmp_path / "report"
    assert main(["evaluate", str(data), "--model", str(model), "--bootstrap", "5", "--output", str(report)]) == 0
    page = (report / "index.html").read_text(encoding="utf-8")
    assert all(f"skipped: {data / kind / 'notes.txt'}" in page for kind in ("good", "crack"))


def test_evaluate_refuses_before_it_scores(parts, model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ju.AnomalyDetector, "inspect", lambda *_, **__: 1 / 0)
    (tmp_path / "file").write_text("")
    for option, message in (
        (["--bootstrap", "0"], "got --bootstrap 0; expected at least 1"),
        (["--heat-map-stride", "0"], "got --heat-map-stride 0; expected 1 to 8"),
        (["--output", str(tmp_path / "file" / "report")], "which cannot be written"),
    ):
        assert main(["evaluate", str(parts), "--model", str(model), *option]) == 1
        assert message in capsys.readouterr().err


def test_a_few_images_that_the_model_was_made_of_leave_all_others(parts, model, tmp_path, capsys):
    for k in range(6):
        write(tmp_path / "other" / "good" / f"{k}.png", good(400 + k))
        write(tmp_path / "other" / "crack" / f"{k}.png", odd(400 + k))
    seen = load_folder(parts, progress=False).train.files[0].path
    shutil.copy(seen, tmp_path / "other" / "good" / "old.png")
    assert main(["evaluate", str(tmp_path / "other"), "--model", str(model), "--bootstrap", "5"]) == 0
    err = capsys.readouterr().err
    assert "all images of other are used, except 1 that the model was made of" in err
    assert "old.png: is an image that the model was trained or calibrated on" in err
    assert "evaluating on 12 images (6 crack, 6 good)" in err


def test_a_folder_of_nothing_but_images_that_the_model_was_made_of_is_refused(parts, model, tmp_path, capsys):
    for folder, file in zip(("train", "test"), load_folder(parts, progress=False).train.files, strict=False):
        (tmp_path / "tree" / folder / "good").mkdir(parents=True)
        shutil.copy(file.path, tmp_path / "tree" / folder / "good")
    assert main(["evaluate", str(tmp_path / "tree"), "--model", str(model)]) == 1
    assert "and the model was made of all its 1 images; expected others" in capsys.readouterr().err


def test_a_report_does_not_go_where_its_figures_would_be_scored(parts, model, capsys):
    command = ["evaluate", str(parts), "--model", str(model), "--output", str(parts / "report")]
    assert main(command) == 1
    assert "expected a folder outside of it" in capsys.readouterr().err
    assert not (parts / "report").exists()


def test_a_disk_that_fills_up_is_told_with_the_folder(parts, model, tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jaxunreg.reports.evaluation.write_page", full)
    report = tmp_path / "report"
    assert main(["evaluate", str(parts), "--model", str(model), "--bootstrap", "5", "--output", str(report)]) == 1
    message = (
        f"error: got --output {report}, which cannot be written: [Errno 28] No space left on device; expected a folder"
    )
    assert capsys.readouterr().err.splitlines()[-1].startswith(message)
