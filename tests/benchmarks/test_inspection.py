"""The benchmark of what a user waits for: each command runs as a process, and one part after another is timed."""

import json

import pytest

import jaxunreg as ju
from benchmarks import inspection
from jaxunreg.datasets.folders.dataset import load_folder


def test_a_process_is_timed_and_its_memory_read_and_an_error_is_told(tmp_path):
    used = inspection.run(["--help"], tmp_path)
    assert 0.0 < used["seconds"] < 60.0
    assert 10.0 < used["peak_mb"] < 2_000.0
    with pytest.raises(RuntimeError, match="jaxunreg score ended with"):
        inspection.run(["score", str(tmp_path / "nothing"), "--model", str(tmp_path)], tmp_path)


def test_every_command_has_a_row_and_a_part_its_milliseconds(tmp_path, monkeypatch):
    def run(arguments, _):
        if arguments[0] == "fit":
            config = ju.DetectorConfig(resolution=64, false_positive_rate=0.2)
            data = load_folder(arguments[1], progress=False)
            ju.fit_detector(data.train, config, directory=arguments[3], progress=False)
        return {"seconds": 100.0 + len(ran.append(arguments[0]) or ran), "peak_mb": 300.0}

    ran: list[str] = []
    monkeypatch.setattr(inspection, "run", run)
    options = inspection.Options(parts=20, size=64, parts_scored=3, json=tmp_path / "rows.json")
    rows = inspection.main(options)
    assert ran == ["fit", "fit", "score", "score", "evaluate", "evaluate"]
    assert [row["what"] for row in rows] == [
        "jaxunreg fit",
        "jaxunreg score",
        "jaxunreg evaluate",
        "a part of 64x64, once compiled",
    ]
    assert rows[0]["seconds"] + 1 == rows[0]["seconds_compiled"]
    assert 0.0 < rows[3]["milliseconds"] <= rows[3]["milliseconds_95"]
    assert json.loads(options.json.read_text()) == rows
