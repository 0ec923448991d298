"""`jaxunreg watch`: its exit codes, its refusals, and its end by a signal."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from jaxunreg.cli.main import main
from jaxunreg.files import held
from tests.cli.drawn_files import good, odd, write


def test_exit_codes_and_rows(model, normal_image, tmp_path, capsys):
    incoming, log = tmp_path / "in", tmp_path / "log"
    write(incoming / "a.png", odd(1))
    words = ["watch", str(incoming), "--model", str(model), "--output", str(log), "--once", "--settle", "0"]
    assert main([*words, "--move", str(tmp_path / "sorted")]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert f"anomalous: {incoming.resolve() / 'a.png'}" in err
    assert "1 of 1 images are anomalous, 0 skipped" in err
    assert (tmp_path / "sorted" / "anomalous" / "a.png").exists()
    (incoming / "b.png").write_bytes(normal_image.read_bytes())
    assert main(words) == 0
    rows = [json.loads(line) for line in (log / "rows.jsonl").read_text().splitlines()]
    assert [(Path(row["path"]).name, row["verdict"]) for row in rows] == [("a.png", "anomalous"), ("b.png", "normal")]
    assert main(words) == 0


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_image_that_it_is_at(stop, model, tmp_path, capsys):
    incoming, log = tmp_path / "in", tmp_path / "log"
    write(incoming / "0.png", good(0))

    def stop_later() -> None:
        ends = time.monotonic() + 60
        while not (log / "rows.jsonl").exists() or not (log / "rows.jsonl").read_bytes():
            assert time.monotonic() < ends
            time.sleep(0.02)
        os.kill(os.getpid(), stop)

    stopping = threading.Thread(target=stop_later)
    stopping.start()
    options = ["--settle", "0", "--interval", "0.05"]
    assert main(["watch", str(incoming), "--model", str(model), "--output", str(log), *options]) == 0
    stopping.join()
    assert "watching" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--interval", "-1"], "got --interval -1.0; expected 0 to 86400 seconds"),
        (["--settle", "nan"], "got --settle nan; expected 0 to 86400 seconds"),
        (["--move", "FOLDER/m", "--link", "FOLDER/l"], "got --move and --link; expected one of them"),
        (["--move", "FOLDER/in/sorted"], "which lies in"),
        (["--on-anomaly", "it's"], "No closing quotation"),
        (["--on-anomaly", " "], "expected a command or a URL"),
    ],
)
def test_it_refuses_before_it_looks(options, message, model, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    options = [word.replace("FOLDER", str(tmp_path)) for word in options]
    words = ["watch", str(tmp_path / "in"), "--model", str(model), "--output", str(tmp_path / "log")]
    assert main([*words, *options]) == 1
    assert message in capsys.readouterr().err


def test_a_folder_that_is_not_there_and_one_that_another_watch_uses(model, tmp_path, capsys):
    log = tmp_path / "log"
    assert main(["watch", str(tmp_path / "none"), "--model", str(model), "--output", str(log)]) == 1
    assert "is not a folder; expected one where images arrive" in capsys.readouterr().err
    assert not log.exists()
    (tmp_path / "in").mkdir()
    log.mkdir()
    with held(log):
        assert main(["watch", str(tmp_path / "in"), "--model", str(model), "--output", str(log), "--once"]) == 1
    assert "which another watch uses right now" in capsys.readouterr().err
