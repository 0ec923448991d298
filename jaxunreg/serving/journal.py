"""The journal of a watch: a state that survives a crash at any moment, and the rows as JSON lines and as CSV."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxunreg.errors import CheckpointError
from jaxunreg.serving.appended import AppendedFile, csv_row, json_row, number_in_csv, number_in_json
from jaxunreg.serving.arrivals import Stamp

STATE, JSON_LINES, CSV = "state.sqlite", "rows.jsonl", "rows.csv"

_TABLES = """
CREATE TABLE IF NOT EXISTS images (path TEXT PRIMARY KEY, size INTEGER, time INTEGER, sha256 TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS unfinished (number INTEGER PRIMARY KEY, row TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class KnownImage(NamedTuple):
    """What the journal knows about an image."""

    stamp: Stamp
    sha256: str


class Journal:
    """The folder of one watch. It is a context manager.

    An image and its row are noted durably in the state before the row is appended to the files. If the process dies in
    between, the row is appended at the next start. Rows have numbers without gaps, so the number of a file's last row
    says whether a row is already there.

    Args:
      folder: an existing folder, which one process uses at a time.

    Raises:
      CheckpointError: the state is damaged, or the folder cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Journal(Path(folder)) as journal:
    ...         number = journal.note("a.png", Stamp(9, 1), "ab12", {"path": "a.png", "verdict": "normal"}, {})
    ...         journal.append(number)
    ...         journal.finish(number)
    ...     Path(folder, JSON_LINES).read_text()
    '{"number": 1, "path": "a.png", "verdict": "normal"}\\n'
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with contextlib.ExitStack() as opened:
            try:
                self._state = sqlite3.connect(folder / STATE, isolation_level=None)
                opened.callback(self._state.close)
                # A commit is on the disk when it returns.
                self._state.execute("PRAGMA synchronous = FULL")
                self._state.executescript(_TABLES)
                self._number = int(self.fact("number") or 0)
                self._files = (
                    opened.enter_context(AppendedFile(folder / JSON_LINES, json_row, number_in_json)),
                    opened.enter_context(AppendedFile(folder / CSV, csv_row, number_in_csv, csv_row(None))),
                )
            except (sqlite3.Error, ValueError) as error:
                raise self._damaged(error) from error
            self._opened = opened.pop_all()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def known(self, path: str) -> KnownImage | None:
        """Return what is known about a noted image, by its path below the watched folder."""
        found = self._state.execute("SELECT size, time, sha256 FROM images WHERE path = ?", [path]).fetchone()
        return None if found is None else KnownImage(Stamp(*found[:2]), found[2])

    def fact(self, name: str) -> str | None:
        """Return a text that was noted under a name, or None."""
        found = self._state.execute("SELECT value FROM facts WHERE name = ?", [name]).fetchone()
        return None if found is None else str(found[0])

    def note_fact(self, name: str, value: str) -> None:
        """Note a text under a name."""
        self._state.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", [name, value])

    def note_stamp(self, path: str, stamp: Stamp) -> None:
        """Note that an image was touched but still has the same bytes."""
        self._state.execute("UPDATE images SET size = ?, time = ? WHERE path = ?", [*stamp, path])

    def note(self, path: str, stamp: Stamp, sha256: str, row: Mapping[str, Any], facts: Mapping[str, str]) -> int:
        """Note an image, its row and changed facts, all or nothing.

        Args:
          path: path below the watched folder.
          stamp: stamp of the file.
          sha256: SHA-256 of its bytes.
          row: JSON data.
          facts: texts by their names.

        Returns:
          The number of the row.

        Raises:
          CheckpointError: the disk is full, or the state has another error.
        """
        number = self._number + 1
        text = json.dumps({"number": number, **row}, allow_nan=False)
        noted = {**facts, "number": str(number)}
        try:
            self._state.execute("BEGIN IMMEDIATE")
            try:
                self._state.execute("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?)", [path, *stamp, sha256])
                self._state.execute("INSERT INTO unfinished VALUES (?, ?)", [number, text])
                self._state.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", noted.items())
                self._state.execute("COMMIT")
            except BaseException:
                self._state.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._damaged(error) from error
        self._number = number
        return number

    def unfinished(self) -> Iterator[dict[str, Any]]:
        """Return the rows that were noted but not finished, by their numbers."""
        for (text,) in self._state.execute("SELECT row FROM unfinished ORDER BY number").fetchall():
            yield json.loads(text)

    def append(self, number: int) -> None:
        """Append a noted row to the files, durably, if it is not there yet.

        Raises:
          OSError: a file cannot be written.
        """
        (text,) = self._state.execute("SELECT row FROM unfinished WHERE number = ?", [number]).fetchone()
        for file in self._files:
            file.append(json.loads(text))

    def finish(self, number: int) -> None:
        """Note that everything that follows from a row is done."""
        self._state.execute("DELETE FROM unfinished WHERE number = ?", [number])

    def _damaged(self, error: Exception) -> CheckpointError:
        return CheckpointError(
            f"{self._folder}, where a watch cannot go on: {error}",
            f"{STATE}, {JSON_LINES} and {CSV} as a watch left them, on a disk with free space",
            "free some space, or take another folder to begin again, which scores all images again",
        )
