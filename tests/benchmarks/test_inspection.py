"""The benchmark of what a user waits for: each command runs as a process, and one part after another is timed."""

import json

import pytest

import jaxunreg as ju
from benchmarks import inspection
from jaxunreg.datasets.folders.dataset import load_folder


def test_a_process_is_timed_and_its_memory_read_and_an_error_is_told(tmp_path):
    used = inspection.run_python(["-m", "jaxunreg", "--help"], tmp_path)
    assert 0.0 < used["seconds"] < 60.0
    assert 10.0 < used["peak_mb"] < 2_000.0
    with pytest.raises(RuntimeError, match="ended with"):
        inspection.run_python(
            ["-m", "jaxunreg", "score", str(tmp_path / "nothing"), "--model", str(tmp_path)], tmp_path
        )


def test_a_start_has_its_bytecode_as_after_an_installation(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    inspection.run_python(["-c", "import sys; assert not sys.dont_write_bytecode"], tmp_path)


def test_every_command_has_a_row_and_a_part_its_milliseconds(tmp_path, monkeypatch):
    def run(arguments, _):
        if arguments[2:3] == ["fit"]:
            config = ju.DetectorConfig(resolution=64, false_positive_rate=0.2)
            data = load_folder(arguments[3], progress=False)
            ju.fit_detector(data.train, config, directory=arguments[5], progress=False)
        return {"seconds": 100.0 + len(ran.append(" ".join(arguments[:3])) or ran), "peak_mb": 300.0}

    ran: list[str] = []
    monkeypatch.setattr(inspection, "run_python", run)
    monkeypatch.setattr(inspection, "_STARTS", 1)
    options = inspection.Options(parts=20, size=64, parts_scored=3, json=tmp_path / "rows.json")
    rows = inspection.main(options)
    commands = [f"-m jaxunreg {name}" for name in ("fit", "fit", "score", "score", "evaluate", "evaluate")]
    assert ran == [*commands, "-c import jaxunreg", "-m jaxunreg --help", "-m jaxunreg score"]
    assert [row["what"] for row in rows] == [
        "jaxunreg fit",
        "jaxunreg score",
        "jaxunreg evaluate",
        "import jaxunreg",
        "jaxunreg --help",
        "jaxunreg score, one image",
        "a part of 64x64, once compiled",
    ]
    assert rows[0]["seconds"] + 1 == rows[0]["seconds_compiled"]
    assert 0.0 < rows[-1]["milliseconds"] <= rows[-1]["milliseconds_95"]
    assert json.loads(options.json.read_text()) == rows
