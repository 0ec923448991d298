"""`jaxunreg score --camera`: a row for each frame of a video that the test writes, and its refusals."""

import json
import os
import signal
import threading
import time

import numpy as np
import pytest
from PIL import Image

import jaxunreg as ju
from jaxunreg.cli.main import main
from tests.cli.drawn_files import good, odd, rows
from tests.datasets.test_camera import write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    frames = [(odd if k == 3 else good)(k, *(() if k == 3 else (12, 16))) for k in range(6)]
    frames[3] = np.pad(frames[3], ((0, 0), (0, 1)), mode="edge")
    path = tmp_path_factory.mktemp("video") / "line.mkv"
    return write_video(path, [np.repeat(frame[..., None], 3, axis=2) for frame in frames]), frames


def test_every_frame_has_a_row(video, model, capsys):
    path, frames = video
    assert main(["score", "--camera", str(path), "--model", str(model), "--false-positive-rate", "0.3"]) == 3
    out, err = capsys.readouterr()
    found = rows(out)
    assert [int(row["frame"]) for row in found] == list(range(6))
    assert [float(row["seconds"]) for row in found] == pytest.approx([k / 10 for k in range(6)], abs=1e-3)
    assert {row["path"] for row in found} == {str(path)}
    detector = ju.AnomalyDetector.load(model)
    scores = [verdict.score for verdict in detector.scores([frame[..., None] for frame in frames])]
    assert [float(row["score"]) for row in found] == pytest.approx(scores, rel=1e-5)
    assert found[3]["verdict"] == "anomalous"
    assert "of 6 images are" in err


def test_every_nth_frame_with_its_files(video, model, tmp_path, capsys):
    words = ["score", "--camera", str(video[0]), "--every", "3", "--model", str(model), "--format", "jsonl"]
    assert main([*words, "--maps", str(tmp_path / "maps"), "--map-format", "npy", "--regions"]) == 3
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["frame"] for row in found] == [0, 3]
    assert [row["map"] for row in found] == [str(tmp_path / "maps" / f"frame-{k:06d}.npy") for k in (0, 3)]
    assert np.load(found[1]["map"]).shape == (12, 16)
    assert found[1]["regions"]


def test_a_live_camera_is_scored_frame_by_frame_until_a_signal(video, model, monkeypatch, capsys):
    from jaxunreg.datasets import camera

    decoded = camera._decoded

    def endless(*args):
        frame = next(decoded(*args))[1]
        for number in range(100_000):
            time.sleep(0.01)
            yield number, frame

    monkeypatch.setattr(camera, "_decoded", endless)
    monkeypatch.setattr(camera, "is_live", lambda source: True)
    monkeypatch.setattr("jaxunreg.cli.sources.is_live", lambda source: True)
    written = []
    monkeypatch.setattr(
        "jaxunreg.cli.score.verdict_cells", lambda verdict, _: written.append(1) or {"verdict": verdict.outcome}
    )

    def stop_later() -> None:
        ends = time.monotonic() + 60
        while len(written) < 3:
            assert time.monotonic() < ends
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    stopping = threading.Thread(target=stop_later)
    stopping.start()
    assert main(["score", "--camera", str(video[0]), "--model", str(model)]) in (0, 3)
    stopping.join()
    out, err = capsys.readouterr()
    numbers = [int(row["frame"]) for row in rows(out)]
    assert len(numbers) >= 3
    assert numbers == sorted(set(numbers))
    assert "s of start-up a part took" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--camera", "VIDEO", "IMAGE"], "expected one of them; leave one out"),
        (["--every", "2", "IMAGE"], "got --every 2 without --camera"),
        (["--camera", "VIDEO", "--every", "0"], "got --every 0; expected at least 1"),
        (["--camera", "FOLDER/none.mp4"], "where there is no file"),
        ([], "got nothing to score; expected images or folders, or --camera"),
    ],
)
def test_what_it_refuses(words, message, video, model, tmp_path, capsys):
    Image.fromarray(good(1)).save(tmp_path / "a.png")
    named = {"VIDEO": str(video[0]), "IMAGE": str(tmp_path / "a.png")}
    words = [named.get(word, word.replace("FOLDER", str(tmp_path))) for word in words]
    assert main(["score", *words, "--model", str(model)]) == 1
    assert message in capsys.readouterr().err
