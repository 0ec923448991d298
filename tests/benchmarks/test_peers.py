"""The benchmark beside other libraries: methods of tables on pixels, which need neither network nor extra."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import peer_methods, peers
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.generated_parts import write_parts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_parts(tmp_path_factory.mktemp("peers") / "parts", train=20, test=4, image_size=(64, 64))


@pytest.mark.parametrize("name", ["jaxunreg, Gaussian of rows", "scikit-learn, Isolation Forest"])
def test_a_row_has_accuracy_time_and_memory(name, folder):
    row = peers.measure(name, "pixels", folder, 64)
    assert row["images"] == {"train": 20, "normal": 4, "anomalous": 8}
    assert 0.0 <= row["auc_low"] <= row["auc"] <= row["auc_high"] <= 1.0
    assert row["seconds_to_fit"] > 0.0
    assert row["milliseconds"] > 0.0
    assert row["peak_mb"] > 50.0
    assert json.loads(json.dumps(row)) == row


def test_every_method_of_a_table_scores_a_blank_part_higher(folder):
    images = list(load_folder(folder, progress=False).train)
    for name in ("jaxunreg, Gaussian of rows", "scikit-learn, Isolation Forest", "scikit-learn, local outlier factor"):
        method = peer_methods.METHODS[name][2]("pixels", 64)
        method.fit(images)
        scores = method.scores([*images, np.zeros_like(images[0])])
        assert scores.argmax() == len(images), name


def test_what_cannot_run_is_skipped_with_its_reason(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda _: None)
    options = peers.Options(data=(folder,), methods=("PyOD, ECOD", "anomalib, PaDiM"), json=tmp_path / "peers.json")
    rows = peers.main(options)
    assert [(row["columns"], row["skipped"]) for row in rows] == [
        ("features", "pyod is not installed"),
        ("pixels", "pyod is not installed"),
        ("images", "anomalib is not installed"),
    ]
    assert json.loads((tmp_path / "peers.json").read_text()) == rows
    assert "pyod is not installed" in capsys.readouterr().out
