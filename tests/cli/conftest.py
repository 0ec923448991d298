"""A folder of parts and a detector of them, for all tests of the command line."""

from pathlib import Path

import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg.cli.main import main
from jaxunreg.datasets.folders.dataset import load_folder
from tests.cli.drawn_files import TINY, good, odd, write


@pytest.fixture(autouse=True)
def no_cache_at_home(monkeypatch):
    monkeypatch.setattr("jaxunreg.compilation.keep_compiled", lambda: None)


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def model(parts, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jaxunreg.compilation.keep_compiled", lambda: None)
        assert main(["fit", str(parts), "--output", str(folder), *TINY]) == 0
    return folder


@pytest.fixture(scope="session")
def normal_image(parts, model) -> Path:
    """One that the threshold rests on, and does not exceed it."""
    detector = ju.AnomalyDetector.load(model)
    train = load_folder(parts, progress=False).train
    scores = [verdict.score for verdict in detector.scores(train)]
    return next(file.path for file, score in zip(train.files, scores, strict=True) if score <= detector.threshold)
