"""Files are whole or not there."""

from pathlib import Path

import pytest

from jaxunreg.files import replacing


def test_replacing_keeps_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with path.open() as reader:
        with replacing(path) as temporary:
            assert temporary.parent == path.parent
            temporary.write_text("new")
            assert path.read_text() == "old"
        assert path.read_text() == "new"
        # Moved over it, not written into it: who has begun to read the old file reads it to its end.
        assert reader.read() == "old"


def test_replacing_leaves_nothing_of_what_was_interrupted(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("new")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_do_not_share_what_they_write(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with replacing(path) as slow:
        slow.write_text("slow")
        with replacing(path) as fast:
            fast.write_text("fast")
        assert path.read_text() == "fast"
    assert path.read_text() == "slow"
    assert list(tmp_path.iterdir()) == [path]
