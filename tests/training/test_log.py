"""The record of a run survives what can happen to a file."""

import json
import warnings

import pytest

from jaxunreg.errors import CheckpointError
from jaxunreg.training.log import MetricsLog


def line(step: int) -> bytes:
    return json.dumps({"step": step, "loss": 1.5}).encode() + b"\n"


@pytest.fixture
def log(tmp_path) -> MetricsLog:
    return MetricsLog(tmp_path / "metrics.jsonl")


DAMAGED = {
    "no UTF-8": b'{"step": 2, "loss": 1.\xff}\n',
    "cut": b'{"step": 2, "lo\n',
    "of another kind": b"[2]\n",
    "without a step": b'{"loss": 1.5}\n',
    "with a step of another kind": b'{"step": "2"}\n',
    "deep": b"[" * 100_000 + b"\n",
    "empty": b"\n",
    "zeros": bytes(40) + b"\n",
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_line_is_told_and_takes_no_other_along(log, kind):
    log.path.write_bytes(line(1) + DAMAGED[kind] + line(3) + line(4))
    message = r"1 of 4 lines of .*metrics\.jsonl are damaged, the first is line 2; they are left out"
    with pytest.warns(UserWarning, match=message):
        assert [record["step"] for record in log.read()] == [1, 3, 4]
    with pytest.warns(UserWarning, match=message):
        log.cut(3)
    assert log.path.read_bytes() == line(1) + line(3)


@pytest.mark.parametrize("end", [b"", b'{"step": 3, "lo', b'{"step": 3, "na\xff'])
def test_the_line_that_a_kill_cut_short_is_dropped_in_silence(log, end):
    log.path.write_bytes(line(1) + line(2) + end)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log.cut(2)
        assert [record["step"] for record in log.read()] == [1, 2]
    log.append([{"step": 3}])
    assert [record["step"] for record in log.read()] == [1, 2, 3]


def test_a_log_that_cannot_be_written_is_told(log):
    log.path.mkdir()
    with pytest.raises(CheckpointError, match=r"an error while writing .*metrics\.jsonl.*; free some disk space or"):
        log.append([{"step": 1}])
