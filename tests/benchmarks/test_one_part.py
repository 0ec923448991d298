"""The benchmark of one part: a process on one core scores parts one after another."""

import json

import pytest

from benchmarks import one_part


def test_a_part_has_its_milliseconds_and_an_error_is_told(tmp_path):
    options = one_part.Options(
        sizes=(64,), resolutions=(0,), threads=(1,), parts=2, work=tmp_path / "work", json=tmp_path / "rows.json"
    )
    [row] = one_part.main(options)
    assert (row["size"], row["threads"], row["parts"]) == (64, 1, 2)
    assert 0.0 < row["milliseconds"] <= row["milliseconds_95"] < 1e3 * row["start_up_seconds"]
    assert json.loads(options.json.read_text())["rows"] == [row]
    with pytest.raises(RuntimeError, match="ended with 1"):
        one_part.measure(tmp_path / "nothing", tmp_path, 1, options)
