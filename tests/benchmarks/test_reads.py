"""The benchmark of reads counts as the files say, and shows that no command reads an image in vain."""

import json

import pytest

from benchmarks import reads


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    target = tmp_path_factory.mktemp("reads") / "reads.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reads, "HEIGHT", 24)
        patch.setattr(reads, "WIDTH", 72)
        reads.main(reads.Options(images=36, patch=8, steps=2, runs=1, json=target))
    return {row["command"]: row for row in json.loads(target.read_text())}


def test_every_command_is_counted(rows):
    # 36 to train on, 12 normal ones and 12 defects to test on, and 12 masks, which `score` leaves alone.
    assert {name: row["files"] for name, row in rows.items()} == {
        "fit": 72,
        "score": 60,
        "score --heat-maps": 60,
        "evaluate": 72,
    }
    for row in rows.values():
        assert row["stored"] == 72
        assert row["opened"] >= row["decoded"] >= row["files"]
        assert row["bytes_read"] > 0
        assert row["seconds"] > 0


def test_an_image_is_decoded_once_to_be_checked_and_once_to_be_scored(rows):
    for name in ("score", "score --heat-maps"):
        assert (rows[name]["opened"], rows[name]["decoded"]) == (120, 120)
    # All are checked, with their masks; the 24 test images and the 12 masks are used; 3 images are shown with masks.
    assert rows["evaluate"]["decoded"] <= 72 + 36 + 6
