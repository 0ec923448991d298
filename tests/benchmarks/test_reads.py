"""The benchmark of reads counts as the files say, and shows that no command reads an image in vain."""

import json

import pytest

from benchmarks import reads

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    target = tmp_path_factory.mktemp("reads") / "reads.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reads, "HEIGHT", 24)
        patch.setattr(reads, "WIDTH", 72)
        reads.main(reads.Options(images=16, patch=8, steps=2, runs=1, json=target))
    return {row["command"]: row for row in json.loads(target.read_text())}


def test_every_command_is_counted(rows):
    # 16 to train on, 5 normal ones and 5 defects to test on, and 5 masks, which `score` leaves alone.
    assert {name: row["files"] for name, row in rows.items()} == {
        "fit": 31,
        "score": 26,
        "score --heat-maps": 26,
        "evaluate": 31,
    }
    for row in rows.values():
        assert row["stored"] == 31
        assert row["opened"] >= row["decoded"] >= row["files"]
        assert row["bytes_read"] > 0
        assert row["seconds"] > 0


def test_every_file_is_opened_and_decoded_once(rows):
    for row in rows.values():
        assert (row["opened"], row["decoded"]) == (row["files"], row["files"])
