"""Files appear whole or not at all, and a folder is held by one process."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from jaxunreg.files import growing, held, remove_leftovers, replacing, temporary_sibling


def test_replacing_keeps_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with path.open() as reader:
        with replacing(path) as temporary:
            assert temporary.parent == path.parent
            temporary.write_text("new")
            assert path.read_text() == "old"
        assert path.read_text() == "new"
        # Moved over it, not written into it: a reader of the old file reads it to its end.
        assert reader.read() == "old"


@pytest.mark.parametrize("exists", [True, False])
def test_replacing_leaves_nothing_of_a_body_that_was_interrupted(tmp_path: Path, exists: bool) -> None:
    path = tmp_path / "a.txt"
    if exists:
        path.write_text("old")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [file.read_text() for file in tmp_path.iterdir()] == (["old"] if exists else [])


def test_a_body_that_writes_nothing_is_an_error_and_the_old_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_text() == "old"


def test_a_file_that_cannot_be_moved_leaves_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(OSError, match="folder"), replacing(path) as temporary:
        temporary.write_text("new")
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


def test_readers_see_whole_files_while_several_threads_write(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    texts = [letter * 100_000 for letter in "abcd"]
    path.write_text(texts[0])

    def write(text: str) -> None:
        for _ in range(30):
            with replacing(path) as temporary, temporary.open("w") as file:
                for start in range(0, len(text), 10_000):
                    file.write(text[start : start + 10_000])

    writers = [threading.Thread(target=write, args=(text,)) for text in texts]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert path.read_text() in texts
    assert path.read_text() in texts
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_name_is_short_where_the_name_is_as_long_as_may_be(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    (tmp_path / "target.txt").write_text("target")
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "target.txt")
    with replacing(link) as temporary:
        temporary.write_text("new")
    assert not link.is_symlink()
    assert link.read_text() == "new"
    assert (tmp_path / "target.txt").read_text() == "target"


HOLDS = """
import sys
from pathlib import Path
from jaxunreg.files import held
with held(Path(sys.argv[1])) as certainly:
    print(certainly, flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_held_against_other_processes_until_the_holder_dies(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        if holder.stdout.readline().strip() != "True":
            pytest.skip("this file system has no locks")
        with pytest.raises(BlockingIOError), held(tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with held(tmp_path) as certainly:
        assert certainly
    assert list(tmp_path.iterdir()) == []


def test_who_waits_gets_the_folder_when_it_is_let_go(tmp_path: Path) -> None:
    got: list[str] = []

    def wait() -> None:
        with held(tmp_path, wait=True):
            got.append("second")

    with held(tmp_path) as certainly:
        if not certainly:
            pytest.skip("this file system has no locks")
        waiting = threading.Thread(target=wait)
        waiting.start()
        waiting.join(timeout=0.2)
        assert waiting.is_alive()
        got.append("first")
    waiting.join(timeout=30)
    assert got == ["first", "second"]


def test_a_folder_is_let_go_when_the_body_raises(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held(tmp_path):
        _ = 1 / 0
    with held(tmp_path):
        pass


def test_where_there_are_no_locks_the_body_runs_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with held(tmp_path) as certainly:
        assert not certainly


def test_a_folder_that_is_not_there_cannot_be_held(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), held(tmp_path / "nowhere"):
        pass


def test_leftovers_of_killed_processes_are_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = [tmp_path / ".hidden.tmp", tmp_path / "a.tmp", tmp_path / "target"]
    for path in kept:
        path.mkdir()
        (path / "inside").touch()
    temporary_sibling(tmp_path / "a").touch()
    temporary_sibling(tmp_path / "a").mkdir()
    temporary_sibling(tmp_path / "a").symlink_to(tmp_path / "target")
    old = temporary_sibling(tmp_path / "a")
    old.touch()
    os.utime(old, (0, 0))
    remove_leftovers(tmp_path)
    assert not old.exists()
    assert len(list(tmp_path.iterdir())) == 6
    remove_leftovers(tmp_path, seconds=0.0)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert all((path / "inside").exists() for path in kept)
    remove_leftovers(tmp_path / "nowhere")


def test_a_growing_file_stays_in_sight_where_its_body_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")

    def stopped() -> None:
        with growing(path) as part:
            part.write_text("some rows")
            assert path.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert (path.read_text(), (tmp_path / "a.csv.part").read_text()) == ("old", "some rows")
    with growing(path) as part:
        assert part.read_text() == ""
        part.write_text("all rows")
        with pytest.raises(BlockingIOError), growing(path):
            pass
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"a.csv": "all rows"}
