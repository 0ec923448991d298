"""`jaxunreg fit`: its messages and files, and the files after a stop."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import pytest

import jaxunreg as ju
from jaxunreg.cli.main import main
from jaxunreg.datasets.folders.dataset import load_folder
from tests.cli.drawn_files import TINY, good, write

ROOT = Path(__file__).parents[2]


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
    monkeypatch.setattr("jaxunreg.inspection.pixel_fitting.fit", lambda *_, **__: 1 / 0)
    before = (model / "detector.json").read_bytes()
    assert main(["fit", str(parts), "--output", str(model), *TINY]) == 0
    out, err = capsys.readouterr()
    assert out == f"{model}\n"
    assert "is finished already" in err
    assert (model / "detector.json").read_bytes() == before
    assert main(["fit", str(parts), "--output", str(model), *TINY, "--latent-dim", "4"]) == 1
    assert "latent_dim was 3, is now 4".replace("latent_dim", "--latent-dim") in capsys.readouterr().err


# A shell lets its background jobs ignore Ctrl-C, and they hand that down to the tests and their children.
CHILD = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from jaxunreg.cli.main import main
from jaxunreg.training import run
slow = {{"sklearn", "matplotlib", "tensorflow_datasets", "torch"}} & set(sys.modules)
assert not slow, slow
train_steps = run.train_steps
run.train_steps = lambda *arguments: (time.sleep(1.5), train_steps(*arguments))[1]
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
