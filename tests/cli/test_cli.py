"""The command line: its rows, files, exit codes and errors, and what a stop leaves behind."""

import csv
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from PIL import Image

import jaxunreg as ju
from jaxunreg.cli.main import main
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.plots import style

ROOT = Path(__file__).parents[2]
TINY = [
    *("--patch", "8", "--depth", "2", "--base-channels", "4", "--latent-dim", "3", "--stride", "4"),
    *("--steps", "24", "--batch-size", "8", "--steps-per-dispatch", "4", "--checkpoint-every", "8"),
    *("--warmup-steps", "4"),
    *("--false-positive-rate", "0.2"),
]


@pytest.fixture(autouse=True)
def no_cache_at_home(monkeypatch):
    monkeypatch.setattr("jaxunreg.compilation.keep_compiled", lambda: None)


def good(seed: int, height: int = 12, width: int = 15) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 120, (height, width), np.uint8)


def odd(seed: int) -> np.ndarray:
    pixels = good(seed)
    pixels[2:10, 3:11] = np.tile(np.array([[0, 255], [255, 0]], np.uint8), (4, 4))
    return pixels


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> Path:
    """Good parts and two kinds of defects, one of them with masks."""
    root = tmp_path_factory.mktemp("data") / "parts"
    for k in range(28):
        write(root / "good" / f"{k:02}.png", good(k))
    for k in range(3):
        write(root / "crack" / f"{k}.png", odd(100 + k))
        mask = np.zeros((12, 15), np.uint8)
        mask[2:10, 3:11] = 255
        write(root / "crack" / f"{k}_mask.png", mask)
        write(root / "dent" / f"{k}.png", good(200 + k) // 4)
    (root / "good" / "notes.txt").write_text("taken on Monday")
    return root


@pytest.fixture(scope="module")
def model(parts, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxunreg.compilation.keep_compiled", lambda: None)
        assert main(["fit", str(parts), "--output", str(folder), *TINY]) == 0
    return folder


@pytest.fixture(scope="module")
def normal_image(parts, model) -> Path:
    """One that the threshold rests on, and does not exceed it."""
    detector = ju.AnomalyDetector.load(model)
    train = load_folder(parts, progress=False).train
    scores = [verdict.score for verdict in detector.scores(train)]
    return next(file.path for file, score in zip(train.files, scores, strict=True) if score <= detector.threshold)


def rows(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text)))


def test_fit_says_what_it_found_and_prints_the_path_alone(parts, tmp_path, capsys):
    folder = tmp_path / "model"
    assert main(["fit", str(parts), "--output", str(folder), *TINY]) == 0
    out, err = capsys.readouterr()
    assert out == f"{folder}\n"
    assert "layout normal-abnormal; 21 images for training, 13 for the test" in err
    assert "learning from 21 images (21 good) of 12x15 to 12x15 pixels" in err
    assert "used as gray" in err
    assert f"skipped: {parts / 'good' / 'notes.txt'}: is not an image by its name" in err
    detector = ju.AnomalyDetector.load(folder)
    assert detector.summary() in err
    assert detector.calibration.count == 5
    assert detector.record["data"]["layout"] == "normal-abnormal"


def test_a_finished_model_is_not_trained_again(parts, model, capsys, monkeypatch):
    monkeypatch.setattr("jaxunreg.inspection.fitting.fit", lambda *_, **__: 1 / 0)
    before = (model / "detector.json").read_bytes()
    assert main(["fit", str(parts), "--output", str(model), *TINY]) == 0
    out, err = capsys.readouterr()
    assert out == f"{model}\n"
    assert "is finished already" in err
    assert (model / "detector.json").read_bytes() == before
    assert main(["fit", str(parts), "--output", str(model), *TINY, "--latent-dim", "4"]) == 1
    assert "latent_dim was 3, is now 4".replace("latent_dim", "--latent-dim") in capsys.readouterr().err


def test_rows_and_exit_codes(parts, model, normal_image, capsys):
    assert main(["score", str(normal_image), "--model", str(model)]) == 0
    [row] = rows(capsys.readouterr().out)
    assert row["verdict"] == "normal"
    assert main(["score", str(parts / "crack"), str(normal_image), "--model", str(model)]) == 3
    out, err = capsys.readouterr()
    found = rows(out)
    assert [Path(row["path"]).name for row in found[:3]] == ["0_mask.png", "1_mask.png", "2_mask.png"]
    assert [row["verdict"] for row in found[:3]] == ["skipped"] * 3
    found = found[3:]
    assert [Path(row["path"]).name for row in found] == ["0.png", "1.png", "2.png", normal_image.name]
    assert [row["verdict"] for row in found] == ["anomalous"] * 3 + ["normal"]
    assert "3 of 4 images are anomalous, 3 files were skipped" in err
    detector = ju.AnomalyDetector.load(model)
    images = [np.asarray(Image.open(row["path"]))[..., None] for row in found]
    for row, verdict in zip(found, detector.scores(images), strict=True):
        assert float(row["score"]) == verdict.score
        assert float(row["p_value"]) == verdict.p_value
        assert float(row["threshold"]) == detector.threshold
        assert [int(row[name]) for name in ("top", "left", "height", "width")] == list(verdict.worst)


def test_json_lines_in_a_file_with_what_was_skipped(parts, model, tmp_path, capsys):
    target = tmp_path / "in"
    write(target / "a" / "odd.png", odd(1))
    (target / "a" / "empty.png").write_bytes(b"")
    write(target / "small.png", good(1, 4, 30))
    (target / "list.txt").write_text("")
    arguments = [
        "score",
        str(target),
        "--model",
        str(model),
        "--format",
        "jsonl",
        "--output",
        str(tmp_path / "x.jsonl"),
    ]
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert not (tmp_path / "x.jsonl").exists()
    [error] = [line for line in err.splitlines() if line.startswith("error:")]
    assert "small.png" in error or "empty.png" in error
    assert "--on-error skip" in error
    assert main([*arguments, "--on-error", "skip"]) == 3
    found = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    verdicts = {Path(row["path"]).name: row["verdict"] for row in found}
    assert verdicts == {"odd.png": "anomalous", "empty.png": "skipped", "small.png": "skipped", "list.txt": "skipped"}
    reasons = {Path(row["path"]).name: row["reason"] for row in found}
    assert "empty" in reasons["empty.png"]
    assert "4x30" in reasons["small.png"]
    assert reasons["odd.png"] is None
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_other_rates_and_top_k_are_calibrated(parts, model, capsys):
    run = ["score", str(parts / "crack" / "0.png"), "--model", str(model)]
    assert main([*run, "--top-k", "2", "--false-positive-rate", "0.5"]) == 3
    [row] = rows(capsys.readouterr().out)
    highest = ju.AnomalyDetector.load(model).held_out["m"][:, :2].astype(float)
    assert float(row["threshold"]) == np.sort(highest.mean(axis=1))[2]
    assert main([*run, "--false-positive-rate", "0.01"]) == 1
    assert "got --false-positive-rate 0.01; expected at least 1/(5 + 1)" in capsys.readouterr().err


def test_colours_are_turned_as_the_model_wants_them(model, normal_image, tmp_path, capsys):
    gray = np.asarray(Image.open(normal_image))
    colored = np.stack([gray, gray, gray], axis=-1)
    write(tmp_path / "same.png", colored)
    write(tmp_path / "red.png", colored * np.array([1, 0, 0], np.uint8))
    assert main(["score", str(normal_image), str(tmp_path / "same.png"), "--model", str(model)]) == 0
    one, other = rows(capsys.readouterr().out)
    assert one["score"] == other["score"]
    main(["score", str(tmp_path / "red.png"), "--model", str(model)])
    assert "1 images are used as gray (color='gray'): 1 of them have colours" in capsys.readouterr().err


def test_heat_maps_are_pictures_of_the_whole_image(model, tmp_path, capsys):
    image = odd(5)
    write(tmp_path / "in" / "x" / "a.png", image)
    write(tmp_path / "in" / "x" / "a.bmp", image)
    write(tmp_path / "in" / "y" / "a.png", image)
    maps = tmp_path / "maps"
    assert main(["score", str(tmp_path / "in"), "--model", str(model), "--heat-maps", str(maps)]) == 3
    found = {Path(row["path"]).relative_to(tmp_path / "in").as_posix(): row for row in rows(capsys.readouterr().out)}
    assert {name: row["heat_map"] for name, row in found.items()} == {
        name: str(maps / f"{name}.png") for name in ("x/a.png", "x/a.bmp", "y/a.png")
    }
    with Image.open(maps / "x" / "a.png.png") as picture:
        assert picture.width == 1080
        colors = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
    # The last colours of the heat, which the gray image has not.
    assert ((colors[:, 0] > 200) & (colors[:, 2] < 120)).any()
    inside = ["score", str(tmp_path / "in"), "--model", str(model), "--heat-maps", str(tmp_path / "in" / "maps")]
    assert main(inside) == 1
    assert "would be scored as images the next time" in capsys.readouterr().err


def test_heat_maps_stay_in_their_folder_and_apart_from_the_images(model, tmp_path, monkeypatch, capsys):
    write(tmp_path / "in" / "a.png", odd(5))
    write(tmp_path / "more" / "b.png", odd(6))
    monkeypatch.chdir(tmp_path / "in")
    run = ["score", "a.png", "../more/b.png", "--model", str(model), "--heat-maps"]
    assert main([*run, str(tmp_path / "deep" / "maps")]) == 3
    found = {path.relative_to(tmp_path / "deep" / "maps").as_posix() for path in tmp_path.rglob("*.png.png")}
    assert found == {"in/a.png.png", "more/b.png.png"}
    capsys.readouterr()
    for folder in (".", str(tmp_path)):
        alone = ["score", "a.png", "--model", str(model), "--heat-maps", folder] if folder == "." else [*run, folder]
        assert main(alone) == 1
        assert "would lie among the images that are scored" in capsys.readouterr().err
    assert not (tmp_path / "in" / "a.png.png").exists()


def test_a_thousand_images_of_many_sizes_compile_nothing_new(model, tmp_path, capsys, compiled):
    for k in range(1000):
        write(tmp_path / f"{k:04}.png", good(k, 8 + k % 7, 8 + k % 11))
    main(["score", str(tmp_path / "0000.png"), "--model", str(model)])
    capsys.readouterr()
    before = len(compiled)
    assert before > 0
    code = main(["score", str(tmp_path), "--model", str(model)])
    found = rows(capsys.readouterr().out)
    assert len(found) == 1000
    assert code == (3 if any(row["verdict"] == "anomalous" for row in found) else 0)
    assert len(compiled) == before


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
    """A tree whose test images were partly trained on, and a folder of which none was."""
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


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["fit", "DATA/missing", "--output", "NEW"], "missing does not exist; expected a folder of images"),
        (
            ["fit", "DATA", "--output", "NEW", *TINY, "--false-positive-rate", "0.01"],
            "expected at least 99 held-out parts for a --false-positive-rate of 0.01; raise --false-positive-rate to",
        ),
        (["fit", "DATA", "--output", "DATA", *TINY], "already used for something else"),
        (["fit", "DATA", "--output", "NEW"], "pixels; expected at least 96x96"),
        (["score", "DATA", "--model", "NEW"], "is not a folder; expected one that `jaxunreg fit` wrote"),
        (["score", "DATA/nothing.png", "--model", "MODEL"], "nothing.png does not exist"),
        (["score", "--model", "MODEL"], "got nothing to score"),
        (["evaluate", "DATA/good", "--model", "MODEL"], "got 7 normal and 0 defective images to evaluate on"),
        (["evaluate", "DATA", "--model", "MODEL", "--output", "DATA"], "expected a folder outside of it"),
        (["evaluate", "DATA", "--model", "MODEL", "--output", "MODEL"], "already used for something else"),
    ],
)
def test_an_error_is_one_line_and_says_what_to_do(command, message, parts, model, tmp_path, capsys):
    places = {"DATA": str(parts), "MODEL": str(model), "NEW": str(tmp_path / "new")}
    command = [part.replace(*name) for part in command for name in [_place(part, places)]]
    assert main(command) == 1
    out, err = capsys.readouterr()
    assert out == ""
    [error] = [line for line in err.splitlines() if line.startswith("error:")]
    assert message in error
    assert "Traceback" not in err
    assert not (tmp_path / "new").exists()


def _place(part: str, places: dict[str, str]) -> tuple[str, str]:
    return next(((name, path) for name, path in places.items() if part.split("/")[0] == name), ("\0", ""))


def test_a_wrong_command_line_is_a_usage_error(capsys):
    for command in ([], ["score"], ["fit", "x"], ["paint"], ["fit", "x", "--output", "y", "--stride", "0"]):
        with pytest.raises(SystemExit) as stop:
            main(command)
        assert stop.value.code == 2
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize("command", ["fit", "score", "evaluate"])
def test_help_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"  jaxunreg {command} " in text
    assert "Exit codes:\n  0 " in text
    assert ("  3    at least one image is anomalous" in text) == (command == "score")
    with pytest.raises(SystemExit):
        main(["--help"])
    assert f"jaxunreg {command} " in capsys.readouterr().out


# A shell lets its background jobs ignore Ctrl-C, and they hand that down to the tests and their children.
CHILD = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from jaxunreg.cli.main import main
from jaxunreg.training import loop
slow = {{"sklearn", "matplotlib", "tensorflow_datasets", "torch"}} & set(sys.modules)
assert not slow, slow
train_steps = loop.train_steps
loop.train_steps = lambda *arguments: (time.sleep(1.5), train_steps(*arguments))[1]
sys.exit(main({arguments!r}))
"""


def saved(folder: Path) -> list[int]:
    """The steps of the whole checkpoints."""
    return [int(path.name) for path in (folder / "training").glob("checkpoints/*") if path.name.isdigit()]


def test_an_interrupted_fit_goes_on(parts, tmp_path, capsys):
    folder = tmp_path / "model"
    arguments = ["fit", str(parts), "--output", str(folder), *TINY]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(arguments=arguments)], stderr=subprocess.PIPE, env=environment, text=True
    )
    try:
        began = time.monotonic()
        while not saved(folder) and child.poll() is None:
            assert time.monotonic() - began < 120
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=120)
    finally:
        child.kill()
    assert child.returncode == 130, err
    assert "stopped; start the same command again to go on from the last checkpoint" in err
    assert "Traceback" not in err
    with pytest.raises(ju.CheckpointError, match="whose training has not ended"):
        ju.AnomalyDetector.load(folder)
    step = max(saved(folder))
    assert 8 <= step < 24
    before = (folder / "training" / "metrics.jsonl").read_text().splitlines()[:step]
    assert main(arguments) == 0
    assert f"going on with the training in {folder}" in capsys.readouterr().err
    lines = (folder / "training" / "metrics.jsonl").read_text().splitlines()
    assert lines[:step] == before
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 25))
    assert ju.AnomalyDetector.load(folder).calibration.count == 5


def test_rows_of_a_real_process_are_pure(parts, model, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "jaxunreg", "score", str(parts / "crack"), "--model", str(model)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 3, done.stderr
    assert [row["verdict"] for row in rows(done.stdout)] == ["skipped"] * 3 + ["anomalous"] * 3
    assert done.stdout.startswith("path,score,p_value,threshold,verdict,top,left,height,width,heat_map,reason\n")


def test_a_reader_that_goes_away_is_no_error_to_talk_about(parts, model, monkeypatch, capsys):
    def gone(*_, **__):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("jaxunreg.cli.score.writing_rows", gone)
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    monkeypatch.setattr(sys.stdout, "fileno", lambda: 1, raising=False)
    assert main(["score", str(parts / "crack"), "--model", str(model)]) == 1
    assert "error" not in capsys.readouterr().err


def test_a_refused_fit_leaves_the_note_of_the_old_settings(parts, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "model"
    arguments = ["fit", str(parts), "--output", str(folder), *TINY]

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("jaxunreg.inspection.fitting.calibrate_detector", stop)
        assert main(arguments) == 130
    note = folder / "training" / "config.json"
    before = note.read_bytes()
    capsys.readouterr()
    assert main([*arguments, "--learning-rate", "0.5"]) == 1
    assert " --learning-rate was 3e-05, is now 0.5" in capsys.readouterr().err
    assert note.read_bytes() == before
    assert main([*arguments, "--top-k", "2"]) == 0
    assert json.loads(note.read_text())["config"]["top_k"] == 2


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--output", "FOLDER"], "which is no name of a file; expected one"),
        (["--output", ""], "which is no name of a file; expected one"),
        (["--output", "FOLDER/none/x.csv"], "but there is no folder"),
        (["--heat-maps", "FOLDER/file"], "which cannot be written"),
        (["--heat-maps", "FOLDER/file/maps"], "which cannot be written"),
        (["--heat-map-stride", "0"], "got --heat-map-stride 0; expected 1 to 8"),
        (["--heat-map-stride", "9"], "got --heat-map-stride 9; expected 1 to 8"),
    ],
)
def test_score_refuses_before_it_scores(option, message, normal_image, model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ju.AnomalyDetector, "inspect", lambda *_, **__: 1 / 0)
    (tmp_path / "file").write_text("")
    option = [part.replace("FOLDER", str(tmp_path)) for part in option]
    assert main(["score", str(normal_image), "--model", str(model), *option]) == 1
    assert message in capsys.readouterr().err


def test_rows_go_through_a_link_and_into_a_pipe(normal_image, model, tmp_path):
    run = ["score", str(normal_image), "--model", str(model), "--output"]
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    assert main([*run, str(tmp_path / "link.csv")]) == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert len(rows((tmp_path / "real.csv").read_text())) == 1
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True) as reader:
        try:
            assert main([*run, str(pipe)]) == 0
            out, _ = reader.communicate(timeout=60)
        finally:
            reader.kill()
    assert len(rows(out)) == 1
    assert pipe.is_fifo()


def test_names_are_taken_literally(model, tmp_path, capsys):
    """No name of a file or of a defect is read as mathematics, as markup or as an emoji."""
    data, maps = tmp_path / "$data^$", tmp_path / "maps"
    for k in range(2):
        write(data / "good" / f"{k}.png", good(500 + k))
        write(data / "scratch [deep] :bug: $^$" / f"a[!b] $^$ {k}.png", odd(500 + k))
    name = "scratch [deep] :bug: $^$"
    assert main(["score", str(data / name), "--model", str(model), "--heat-maps", str(maps)]) == 3
    assert len(list(maps.glob("*.png"))) == 2
    capsys.readouterr()
    run = ["evaluate", str(data), "--model", str(model), "--bootstrap", "5", "--output", str(tmp_path / "report")]
    assert main(run) == 0
    assert name in capsys.readouterr().out


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
    found = json.loads((folder / "detector.json").read_text())
    assert found["record"]["data"]["test_fraction"] is None
    found["record"]["data"]["test_fraction"] = 0.2
    (folder / "detector.json").write_text(json.dumps(found))
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


def test_too_little_memory_and_too_long_a_seed_are_told_in_one_line(parts, tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nmore")

    monkeypatch.setattr("jaxunreg.cli.fit.fit_detector", full)
    run = ["fit", str(parts), "--output", str(tmp_path / "model"), *TINY]
    assert main(run) == 1
    err = capsys.readouterr().err
    assert "the device has too little memory: RESOURCE_EXHAUSTED: Out of memory" in err
    assert "--batch-size" in err
    with pytest.raises(SystemExit) as stop:
        main([*run, "--seed", str(2**63)])
    assert stop.value.code == 2
    assert "expected an integer of 64 bits" in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf8_is_told(model, normal_image, tmp_path, capsys):
    shutil.copy(normal_image, tmp_path / "a.png")
    os.rename(tmp_path / "a.png", os.fsencode(tmp_path) + b"/caf\xe9.png")
    shutil.copy(normal_image, tmp_path / "b.png")
    run = ["score", str(tmp_path), "--model", str(model)]
    assert main(run) == 1
    err = capsys.readouterr().err
    assert "caf\\udce9.png: has a name that is not UTF-8; rename it" in err
    assert main([*run, "--on-error", "skip", "--output", str(tmp_path / "x.csv")]) == 0
    found = rows((tmp_path / "x.csv").read_text())
    assert [Path(row["path"]).name for row in found] == ["caf\\udce9.png", "b.png"]


def test_copies_count_as_one_part(parts, tmp_path, capsys):
    for k in range(28):
        shutil.copy(parts / "good" / f"{k % 5:02}.png", write(tmp_path / "good" / f"{k}.png", good(0)))
    assert main(["fit", str(tmp_path / "good"), "--output", str(tmp_path / "model"), *TINY]) == 1
    err = capsys.readouterr().err
    assert "got 5 normal parts (23 of 28 images are copies of others, byte by byte)" in err
    for k in range(28, 50):
        write(tmp_path / "good" / f"{k}.png", good(500 + k))
    assert main(["fit", str(tmp_path / "good"), "--output", str(tmp_path / "model"), *TINY]) == 0
    err = capsys.readouterr().err
    assert "the 50 images show 27 parts (23 are copies of others, byte by byte)" in err
    record = ju.AnomalyDetector.load(tmp_path / "model").record
    assert (record["parts"], record["copies"]) == (27, 23)
    # No copy of what was trained on is held out.
    data = load_folder(tmp_path / "good", progress=False).train
    assert record["trained_on"] + record["held_out"] == len(data)


def test_a_long_name_does_not_end_the_scoring(model, tmp_path, capsys):
    names = ["a.png", 251 * "b" + ".png", 248 * "c" + ".png"]
    for k, name in enumerate(names):
        write(tmp_path / "new" / name, good(k))
    maps = tmp_path / "maps"
    assert main(["score", str(tmp_path / "new"), "--model", str(model), "--heat-maps", str(maps)]) in (0, 3)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [Path(row["path"]).name for row in rows] == names
    assert sorted(Path(row["heat_map"]).name for row in rows) == sorted(path.name for path in maps.iterdir())


def test_the_rows_before_an_error_are_kept_and_the_file_is_named(model, tmp_path, monkeypatch, capsys):
    for k in range(3):
        write(tmp_path / "new" / f"{k}.png", good(k))
    save = style.save_figure

    def full(figure, target):
        if target.name == "1.png.png":
            raise OSError(errno.ENOSPC, "No space left on device")
        save(figure, target)

    monkeypatch.setattr(style, "save_figure", full)
    command = ["score", str(tmp_path / "new"), "--model", str(model), "--heat-maps", str(tmp_path / "maps")]
    assert main([*command, "--output", str(tmp_path / "scores.csv")]) == 1
    err = capsys.readouterr().err
    assert f"rows that were there before: 1, in {tmp_path / 'scores.csv.part'}" in err
    assert "1.png.png, which cannot be written: [Errno 28] No space left on device" in err
    assert not (tmp_path / "scores.csv").exists()
    assert len((tmp_path / "scores.csv.part").read_text().splitlines()) == 2


def test_a_few_images_that_the_model_was_made_of_leave_all_others(parts, model, tmp_path, capsys):
    for k in range(6):
        write(tmp_path / "other" / "good" / f"{k}.png", good(400 + k))
        write(tmp_path / "other" / "crack" / f"{k}.png", odd(400 + k))
    seen = load_folder(parts, progress=False).train.files[0].path
    shutil.copy(seen, tmp_path / "other" / "good" / "old.png")
    assert main(["evaluate", str(tmp_path / "other"), "--model", str(model), "--bootstrap", "5"]) == 0
    err = capsys.readouterr().err
    assert "all images of other are used, but for 1 that the model was made of" in err
    assert "old.png: is an image that the model was trained or calibrated on" in err
    assert "evaluating on 12 images (6 crack, 6 good)" in err


def test_a_folder_of_nothing_but_images_that_the_model_was_made_of_is_refused(parts, model, tmp_path, capsys):
    for folder, file in zip(("train", "test"), load_folder(parts, progress=False).train.files, strict=False):
        (tmp_path / "tree" / folder / "good").mkdir(parents=True)
        shutil.copy(file.path, tmp_path / "tree" / folder / "good")
    assert main(["evaluate", str(tmp_path / "tree"), "--model", str(model)]) == 1
    assert "whose 1 images the model was all made of; expected others" in capsys.readouterr().err


def test_a_report_does_not_go_where_its_figures_would_be_scored(parts, model, capsys):
    command = ["evaluate", str(parts), "--model", str(model), "--output", str(parts / "report")]
    assert main(command) == 1
    assert "expected a folder outside of it" in capsys.readouterr().err
    assert not (parts / "report").exists()


def test_a_folder_that_cannot_be_opened_is_skipped_as_a_file_is(model, tmp_path, monkeypatch, capsys):
    write(tmp_path / "new" / "a.png", good(0))
    (tmp_path / "new" / "locked").mkdir()
    iterdir = Path.iterdir

    def refused(path):
        if path.name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", refused)
    command = ["score", str(tmp_path / "new"), "--model", str(model)]
    assert main(command) == 1
    assert "locked: cannot be opened (Permission denied); check its rights; or skip" in capsys.readouterr().err
    assert main([*command, "--on-error", "skip"]) in (0, 3)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(Path(row["path"]).name, row["verdict"] == "skipped") for row in rows] == [
        ("locked", True),
        ("a.png", False),
    ]


def test_an_image_larger_than_pillow_allows_to_strangers_is_scored(model, tmp_path, monkeypatch, capsys):
    write(tmp_path / "a.png", good(0))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)
    assert main(["score", str(tmp_path / "a.png"), "--model", str(model)]) in (0, 3)
    assert Image.MAX_IMAGE_PIXELS == 60


def test_transparent_pixels_are_told(model, tmp_path, capsys):
    pixels = np.dstack([good(0)] * 3 + [np.full((12, 15), 255, np.uint8)])
    for k, name in enumerate(("clear", "opaque")):
        pixels[:3, :3, 3] = 255 * k
        write(tmp_path / f"{name}.png", pixels)
    assert main(["score", str(tmp_path), "--model", str(model)]) in (0, 3)
    assert "; 1 have transparent pixels, of which the stored colours are used" in capsys.readouterr().err


def test_a_damaged_model_is_not_to_be_repaired_by_hand(model, tmp_path, capsys):
    shutil.copytree(model, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "model" / "0")
    assert main(["score", str(tmp_path), "--model", str(tmp_path / "model")]) == 1
    err = capsys.readouterr().err
    assert "no checkpoint in it" in err
    assert "copy it again, or train again into another folder" in err
