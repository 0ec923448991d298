"""`jaxunreg serve`: from the command line to an answer, and to a clean end by a signal."""

import http.client
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

import jaxunreg as ju
from jaxunreg.cli.main import main
from tests.cli.drawn_files import odd, write


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def answer(port: int, body: bytes) -> dict:
    """What the service says, which may not listen yet."""
    ends = time.monotonic() + 60
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("POST", "/score", body)
            return json.loads(connection.getresponse().read())
        except OSError:
            assert time.monotonic() < ends
            time.sleep(0.05)
        finally:
            connection.close()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_until_a_signal_stops_it(stop, model, tmp_path, capsys):
    image = write(tmp_path / "odd.png", odd(1))
    port, found = free_port(), []

    def client() -> None:
        try:
            found.append(answer(port, image.read_bytes()))
        finally:
            os.kill(os.getpid(), stop)

    asking = threading.Thread(target=client)
    asking.start()
    assert main(["serve", str(model), "--port", str(port), "--false-positive-rate", "0.5"]) == 0
    asking.join()
    [row] = found[0]["results"]
    [row_of_score] = [verdict.score for verdict in ju.AnomalyDetector.load(model).scores([odd(1)[..., None]])]
    assert row["score"] == pytest.approx(row_of_score, rel=1e-5)
    assert row["verdict"] == "anomalous"
    out, err = capsys.readouterr()
    assert out == f"http://127.0.0.1:{port}\n"
    assert "warming up: threshold" in err
    assert "stopped; 1 images were scored; a part took" in err
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0"], "got --host 0.0.0.0, which other machines can reach; expected a token; give --token"),
        (["--token", "short"], "got --token of 5 characters; expected at least 16"),
        (["--host", "no.such.machine.invalid"], "expected a name or an address of this machine"),
        (["--port", "70000"], "got --port 70000; expected at most 65535"),
        (["--port", "-1"], "got --port -1; expected at least 0"),
        (["--max-queue", "0"], "got --max-queue 0; expected at least 1"),
    ],
)
def test_it_refuses_before_it_warms_up(options, message, model, monkeypatch, capsys):
    monkeypatch.delenv("JAXUNREG_TOKEN", raising=False)
    monkeypatch.setattr("jaxunreg.serving.service.ScoringService.warm_up", lambda _: 1 / 0)
    assert main(["serve", str(model), *options]) == 1
    assert message in capsys.readouterr().err


def test_a_taken_port_is_told(model, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", str(model), "--port", str(port)]) == 1
    assert f"got --port {port}, where nothing can listen at 127.0.0.1" in capsys.readouterr().err


def test_a_limit_that_allows_nothing_is_a_wrong_command_line(model, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["serve", str(model), "--timeout", "0"])
    assert stop.value.code == 2
    assert "got --timeout 0.0; expected above 0" in capsys.readouterr().err


def test_without_its_packages_it_says_what_to_install(model, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    assert main(["serve", str(model)]) == 1
    assert "pip install 'jaxunreg[serve]'" in capsys.readouterr().err


def test_the_token_may_come_from_the_environment(model, monkeypatch, capsys):
    monkeypatch.setenv("JAXUNREG_TOKEN", "short")
    assert main(["serve", str(model)]) == 1
    assert "got --token of 5 characters" in capsys.readouterr().err
    assert Path(model).is_dir()
