"""The watch over a folder: each image once, also where it dies in between, and never one that is not whole."""

import csv
import http.server
import json
import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from jaxunreg.errors import CheckpointError
from jaxunreg.inspection.drift import DriftTest
from jaxunreg.serving import appended
from jaxunreg.serving.calling import Caller
from jaxunreg.serving.journal import CSV, JSON_LINES, STATE, Journal
from jaxunreg.serving.sorting import Sorting
from jaxunreg.serving.watching import FolderWatch
from tests.serving.conftest import broken, encoded, part


class Line:
    """A folder that images arrive in, and the watch over it, which can be started again and again."""

    def __init__(self, detector, root: Path) -> None:
        self.detector, self.folder, self.log, self.sorted = detector, root / "in", root / "log", root / "sorted"
        self.said: list[str] = []
        for folder in (self.folder, self.log):
            folder.mkdir()

    def put(self, name: str, contents: bytes, at: float | None = None) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(contents)
        if at is not None:
            os.utime(path, (at, at))
        return path

    def watch(
        self, *, how=None, caller=None, settle=0.0, patience=0.0, detector=None, stop=None, regions=False
    ) -> FolderWatch:
        sorting = None if how is None else Sorting(self.folder, self.sorted, how)
        with Journal(self.log) as journal:
            watching = FolderWatch(
                detector or self.detector,
                self.folder,
                journal,
                settle=settle,
                patience=patience,
                sorting=sorting,
                caller=caller,
                regions=regions,
                say=self.said.append,
            )
            watching.run(stop or threading.Event(), interval=0.01, once=True)
        return watching

    @property
    def rows(self) -> list[dict]:
        found = [json.loads(line) for line in (self.log / JSON_LINES).read_text().splitlines()]
        with (self.log / CSV).open(newline="") as file:
            table = list(csv.DictReader(file))
        assert [row["number"] for row in found] == list(range(1, len(found) + 1))
        assert [(int(row["number"]), row["path"], row["verdict"]) for row in table] == [
            (row["number"], row["path"], row["verdict"]) for row in found
        ]
        return found

    @property
    def names(self) -> list[str]:
        return [Path(row["path"]).name for row in self.rows]


@pytest.fixture
def line(detector, tmp_path) -> Line:
    return Line(detector, tmp_path)


def test_each_image_is_scored_once_over_restarts(line):
    images = [(broken if k % 2 else part)(k) for k in range(4)]
    for k, pixels in enumerate(images):
        line.put(f"{k}.png", encoded(pixels), at=1000.0 + k)
    first = line.watch()
    assert first.counts == {"normal": 2, "anomalous": 2}
    assert line.names == ["0.png", "1.png", "2.png", "3.png"]
    for row, verdict in zip(line.rows, line.detector.scores(images), strict=True):
        assert row["score"] == pytest.approx(verdict.score, rel=1e-5)
        assert row["p_value"] == verdict.p_value
        assert [row[name] for name in ("top", "left", "height", "width")] == list(verdict.worst)
    line.put("deep/4.tif", encoded(part(4)[..., 0], "TIFF"), at=900.0)
    assert sum(line.watch().counts.values()) == 1
    assert sum(line.watch().counts.values()) == 0
    assert line.names[4:] == ["4.tif"]


def test_the_bytes_tell_whether_an_image_is_new(line):
    line.put("camera.png", encoded(part(1)), at=1000.0)
    line.watch()
    line.put("camera.png", encoded(part(1)), at=2000.0)
    assert sum(line.watch().counts.values()) == 0
    line.put("camera.png", encoded(part(2)), at=3000.0)
    line.watch()
    assert line.names == ["camera.png"] * 2
    assert len({row["sha256"] for row in line.rows}) == 2


def test_rows_tell_the_regions_on_request(line, detector):
    line.put("a.png", encoded(broken(1)))
    line.watch(regions=True)
    [row] = line.rows
    regions = detector.regions(next(detector.inspect([broken(1)], pixels=True)))
    assert [found["area"] for found in row["regions"]] == [region.area for region in regions]
    assert len(regions) > 0


def test_with_a_review_band_images_are_sorted_by_its_words(line, detector):
    from dataclasses import replace

    images = [*(part(k) for k in range(8)), broken(1)]
    for k, pixels in enumerate(images):
        line.put(f"{k}.png", encoded(pixels))
    banded = replace(detector, review_rate=0.5)
    line.watch(how="move", detector=banded)
    outcomes = {verdict.outcome for verdict in banded.scores(images)}
    assert {path.name for path in line.sorted.iterdir()} == outcomes == {"pass", "review", "reject"}


def test_masks_hidden_files_and_what_is_no_image_are_passed_over(line):
    for name in ("a.png", "a_mask.png", ".b.png", "notes.txt", "gt/c.png"):
        line.put(name, encoded(part(1)))
    line.watch()
    assert line.names == ["a.png"]


def test_a_file_that_is_still_written_is_waited_for(line):
    contents = encoded(broken(1))
    path, pieces = line.folder / "slow.png", 8

    def write_slowly() -> None:
        with path.open("wb", buffering=0) as file:
            for k in range(pieces):
                file.write(contents[k * len(contents) // pieces : (k + 1) * len(contents) // pieces])
                time.sleep(0.03)

    path.touch()
    writing = threading.Thread(target=write_slowly)
    writing.start()
    line.watch(settle=0.15, patience=30.0)
    writing.join()
    [row] = line.rows
    assert row["verdict"] == "anomalous"


def test_what_never_becomes_whole_is_skipped_and_told_until_it_does(line):
    contents = encoded(part(1))
    line.put("cut.png", contents[:-100], at=1000.0)
    line.put("none.png", b"", at=1001.0)
    line.put("small.png", encoded(part(1, 8, 8)), at=1002.0)
    began = time.monotonic()
    line.watch(patience=0.2)
    assert time.monotonic() - began >= 0.2
    assert [row["verdict"] for row in line.rows] == ["skipped"] * 3
    assert "cut short" in line.rows[0]["reason"]
    assert "empty (0 bytes)" in line.rows[1]["reason"]
    assert "has 8x8 pixels" in line.rows[2]["reason"]
    line.put("cut.png", contents, at=1003.0)
    line.watch()
    assert [(row["verdict"]) for row in line.rows[3:]] == ["normal"]


def test_an_image_that_cannot_be_scored_is_skipped_and_takes_no_other_with_it(line, detector):
    from dataclasses import replace

    ignored = np.zeros((40, 56), bool)
    ignored[:8] = True
    for k, size in enumerate([(40, 56), (80, 112), (56, 40), (40, 56)]):  # the third does not fit the mask
        line.put(f"{k}.png", encoded(part(k, *size)), at=1000.0 + k)
    watching = line.watch(detector=replace(detector, ignored=ignored))
    assert watching.counts["skipped"] == 1
    verdicts = {Path(row["path"]).name: row["verdict"] for row in line.rows}
    assert sorted(verdicts) == ["0.png", "1.png", "2.png", "3.png"]
    assert verdicts["2.png"] == "skipped"
    [reason] = [row["reason"] for row in line.rows if row["verdict"] == "skipped"]
    assert reason.startswith("cannot be scored (")


class Killed(BaseException):
    """What no code catches, as a kill of the process."""


def killed_once(monkeypatch, owner, name: str, *, after: bool) -> None:
    """Have a method die at its second call, before or after it has done its work."""
    method, calls = getattr(owner, name), []

    def dying(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2 and not after:
            raise Killed
        result = method(*args, **kwargs)
        if len(calls) == 2:
            raise Killed
        return result

    monkeypatch.setattr(owner, name, dying)


def torn_once(monkeypatch, call: int, share: float = 0.5) -> None:
    """Have a crash cut a line of a file."""
    write, calls = appended.AppendedFile._write, []

    def torn(self, line: bytes) -> None:
        calls.append(1)
        if len(calls) == call:
            write(self, line[: int(share * len(line))])
            raise Killed
        write(self, line)

    monkeypatch.setattr(appended.AppendedFile, "_write", torn)


CRASHES = {
    "before the note": lambda patch: killed_once(patch, Journal, "note", after=False),
    "after the note": lambda patch: killed_once(patch, Journal, "note", after=True),
    "in the JSON": lambda patch: torn_once(patch, 4),  # the head of the table, and two lines a row
    "between JSON and CSV": lambda patch: torn_once(patch, 5, share=0.0),
    "in the CSV": lambda patch: torn_once(patch, 5),
    "before the move": lambda patch: killed_once(patch, Sorting, "sort", after=False),
    "after the move": lambda patch: killed_once(patch, Sorting, "sort", after=True),
    "before the call": lambda patch: killed_once(patch, Caller, "__call__", after=False),
    "before the end": lambda patch: killed_once(patch, Journal, "finish", after=False),
    "after the end": lambda patch: killed_once(patch, Journal, "finish", after=True),
}


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_at_any_moment_loses_and_doubles_nothing(crash, line, monkeypatch):
    calls = []
    monkeypatch.setattr(Caller, "__call__", lambda self, found, path: calls.append(found.get("number")))
    images = [broken(k) for k in range(5)]
    for k, pixels in enumerate(images):
        line.put(f"{k}.png", encoded(pixels), at=1000.0 + k)
    caller = Caller("unused")
    with monkeypatch.context() as patch:
        CRASHES[crash](patch)
        with pytest.raises(Killed):
            line.watch(how="move", caller=caller)
    line.watch(how="move", caller=caller)
    final = line.watch(how="move", caller=caller)
    assert line.names == [f"{k}.png" for k in range(5)]
    assert list(line.folder.iterdir()) == []
    assert sorted(path.name for path in (line.sorted / "anomalous").iterdir()) == [f"{k}.png" for k in range(5)]
    # A call may come twice, and is never left out.
    assert sorted(set(calls) - {None}) == [1, 2, 3, 4, 5]
    assert len(calls) - calls.count(None) <= 6
    test = DriftTest(line.detector.calibration, line.detector.false_positive_rate)
    state = test.init()
    for row in line.rows:
        state = test.step(state, row["score"])
    assert final.drift() == test.reading(state)


def test_rows_that_a_user_takes_away_do_not_come_again(line):
    line.put("a.png", encoded(part(1)))
    line.watch()
    (line.log / JSON_LINES).rename(line.log / "yesterday.jsonl")
    (line.log / CSV).unlink()
    line.put("b.png", encoded(part(2)))
    line.watch()
    assert [json.loads(text)["number"] for text in (line.log / JSON_LINES).read_text().splitlines()] == [2]
    assert len((line.log / CSV).read_text().splitlines()) == 2


@pytest.mark.parametrize("name", [STATE, JSON_LINES, CSV])
def test_what_is_no_journal_is_told_and_left_alone(name, line):
    (line.log / name).write_text("a letter\nof mine\n")
    with pytest.raises(CheckpointError, match="begin again"):
        line.watch()
    assert (line.log / name).read_text() == "a letter\nof mine\n"


def test_images_are_moved_by_verdict_and_replace_nothing(line):
    for k, (name, pixels) in enumerate((("a.png", part(1)), ("deep/a.png", broken(2)), ("b.png", None))):
        line.put(name, b"no image" if pixels is None else encoded(pixels), at=1000.0 + k)
    line.watch(how="move")
    assert list(line.folder.rglob("*.png")) == []
    line.put("a.png", encoded(part(4)))
    line.watch(how="move")
    found = {path.relative_to(line.sorted).as_posix() for path in line.sorted.rglob("*.png")}
    assert found == {"normal/a.png", "normal/a.4.png", "anomalous/deep/a.png", "skipped/b.png"}
    assert (line.sorted / "normal" / "a.png").read_bytes() == encoded(part(1))


def test_a_move_to_another_disk_is_a_copy_that_is_whole(line, monkeypatch):
    path, rename = line.put("a.png", encoded(part(1))), os.rename

    def across(source, target):
        if Path(source) == path:
            raise OSError(18, "Invalid cross-device link")
        rename(source, target)

    monkeypatch.setattr(os, "rename", across)
    line.watch(how="move")
    assert not path.exists()
    assert (line.sorted / "normal" / "a.png").read_bytes() == encoded(part(1))


def test_links_lead_to_the_images(line):
    path = line.put("a.png", encoded(broken(1)))
    line.watch(how="link")
    link = line.sorted / "anomalous" / "a.png"
    assert link.is_symlink()
    assert link.samefile(path)


def test_an_image_that_took_the_name_of_one_that_was_scored_is_not_moved_for_it(line, monkeypatch):
    path = line.put("a.png", encoded(broken(1)), at=1000.0)
    note = Journal.note

    def overtaken(self, *args):
        number = note(self, *args)
        if number == 1:
            line.put("a.png", encoded(part(2)), at=2000.0)
        return number

    monkeypatch.setattr(Journal, "note", overtaken)
    line.watch(how="move")
    assert [row["verdict"] for row in line.rows] == ["anomalous", "normal"]
    assert not path.exists()
    assert [found.relative_to(line.sorted).as_posix() for found in line.sorted.rglob("*.png")] == ["normal/a.png"]


def test_a_command_gets_the_row_and_the_path_and_no_name_is_run(line, tmp_path):
    script = tmp_path / "called.py"
    script.write_text("import json, sys; json.dump([json.load(sys.stdin), sys.argv[1:]], open(sys.argv[1], 'w'))")
    target = tmp_path / "found.json"
    line.put("good.png", encoded(part(1)))
    path = line.put("$(touch pwned); a.png", encoded(broken(1)))
    line.watch(caller=Caller(f"{sys.executable} {script} {target}"))
    found, words = json.loads(target.read_text())
    assert words == [str(target), str(path)]
    assert (found["event"], found["verdict"], found["file"]) == ("anomaly", "anomalous", str(path))
    assert not list(tmp_path.rglob("pwned"))


def test_a_url_gets_the_row(line):
    bodies = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_) -> None:
            pass

    line.put("odd.png", encoded(broken(1)))
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        answering = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        answering.start()
        line.watch(caller=Caller(f"http://127.0.0.1:{server.server_port}/odd"))
        server.shutdown()
        answering.join()
    assert [body["path"] for body in bodies] == [str(line.folder / "odd.png")]


def test_a_call_that_fails_is_told_and_stops_nothing(line):
    for k in range(2):
        line.put(f"{k}.png", encoded(broken(k)))
    line.watch(caller=Caller("no-such-command-of-mine"))
    assert len(line.rows) == 2
    assert sum("no-such-command-of-mine, which could not be called" in text for text in line.said) == 2


def test_a_drift_is_told_once_and_survives_a_restart(line, detector):
    calls = []

    class Noting(Caller):
        def __call__(self, found, path):
            calls.append(found)

    dim = [part(k) // 20 + 85 for k in range(40)]
    for k, pixels in enumerate(dim[:20]):
        line.put(f"{k:02}.png", encoded(pixels), at=1000.0 + k)
    first = line.watch(caller=Noting("unused"))
    assert first.drift().parts == 20
    for k, pixels in enumerate(dim[20:], 20):
        line.put(f"{k:02}.png", encoded(pixels), at=1000.0 + k)
    second = line.watch(caller=Noting("unused"))
    assert second.drift().parts == 40
    assert second.drift().alarm
    assert line.rows[-1]["drift"]["parts"] == 40
    assert sum(call["event"] == "drift" for call in calls) == 1
    assert sum(text.startswith("alarm: ") for text in line.said) == 1
    from dataclasses import replace

    anew = line.watch(detector=replace(detector, false_positive_rate=0.2))
    assert anew.drift().parts == 0
    assert "begins again" in line.said[-1]


def test_it_stops_after_what_is_being_scored(line, monkeypatch):
    stop = threading.Event()
    for k in range(50):
        line.put(f"{k:02}.png", encoded(part(k)), at=1000.0 + k)
    monkeypatch.setattr("jaxunreg.scoring.feature_stream._PIXELS_A_CALL", 1)
    append = Journal.append

    def stopping(self, number):
        append(self, number)
        stop.set()

    monkeypatch.setattr(Journal, "append", stopping)
    stopped = line.watch(stop=stop)
    scored = sum(stopped.counts.values())
    assert 0 < scored < 50
    assert line.names == [f"{k:02}.png" for k in range(scored)]


def test_a_folder_that_cannot_be_read_for_a_while_is_told_once(line, monkeypatch):
    line.put("a.png", encoded(part(1)))
    from jaxunreg.datasets.folders import files

    list_folder, calls = files.list_folder, []

    def away(folder):
        calls.append(folder)
        if len(calls) <= 2:
            raise OSError(116, "Stale file handle")
        return list_folder(folder)

    monkeypatch.setattr(files, "list_folder", away)
    stop = threading.Event()
    with Journal(line.log) as journal:
        watching = FolderWatch(line.detector, line.folder, journal, settle=0.0, say=line.said.append)
        monkeypatch.setattr(Journal, "finish", lambda self, number: stop.set())
        watching.run(stop, interval=0.01)
    assert line.names == ["a.png"]
    assert sum("Stale file handle" in text for text in line.said) == 1
