"""`jaxunreg score`: its rows, its exit codes, and its handling of unusable files."""

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import jaxunreg as ju
from jaxunreg.cli.main import main
from tests.cli.drawn_files import good, odd, rows, write

ROOT = Path(__file__).parents[2]


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


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--output", "FOLDER"], "which is not a file name; expected one"),
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
    assert (
        "locked: cannot be opened (Permission denied); check the path and its rights; or skip"
        in capsys.readouterr().err
    )
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
    assert "; 1 have transparent pixels, whose stored colours are used" in capsys.readouterr().err
