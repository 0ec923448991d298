"""A file of rows that grows durably. A crash may have cut its last line."""

import io
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxunreg.csv_rows import CsvRows
from jaxunreg.errors import ArgumentError
from jaxunreg.text import is_utf8, printable

COLUMNS = (
    *("number", "time", "path", "score", "p_value", "threshold", "verdict", "top", "left", "height", "width"),
    *("sha256", "reason"),
)
"""Columns of the CSV file. The JSON lines have more if more was requested."""

_STEP = 2**16


def json_row(row: Mapping[str, Any]) -> bytes:
    """Return a row as a line of JSON."""
    text = {name: value if is_utf8(str(value)) else printable(str(value)) for name, value in row.items()}
    return json.dumps(text, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def csv_row(row: Mapping[str, Any] | None) -> bytes:
    """Return a row as a line of CSV, or the head of the table for None."""
    text = io.StringIO(newline="")
    cells = COLUMNS if row is None else [row.get(name) for name in COLUMNS]
    CsvRows(text, paths=[COLUMNS.index("path")]).write(cells)
    return text.getvalue().encode()


def number_in_json(line: bytes) -> int:
    """Return the number of a row in a line of JSON.

    Raises:
      ValueError: the line is not such a row.
    """
    row = json.loads(line)
    if not isinstance(row, dict) or not isinstance(row.get("number"), int):
        raise ArgumentError(f"the line {printable(line[:80].decode(errors='replace'))}", "a row with a number")
    return int(row["number"])


def number_in_csv(line: bytes) -> int:
    """Return the number of a row in a line of CSV, and 0 for the head of the table.

    Raises:
      ValueError: the line is not such a row.
    """
    first = line.partition(b",")[0].decode()
    return 0 if first == COLUMNS[0] else int(first)


class AppendedFile:
    """A file of numbered rows, one a line. It is a context manager, which closes the file.

    If its last line has no end, e.g. after a crash, that line is removed and its row is written again.

    Args:
      path: the file, which is made if it does not exist.
      line_of: makes a line of a row.
      number_of: returns the number of a line's row.
      head: the first line of a new file.

    Raises:
      OSError: the file cannot be written.
      ValueError: the file exists, and its last line is not a row.
    """

    def __init__(
        self,
        path: Path,
        line_of: Callable[[Mapping[str, Any]], bytes],
        number_of: Callable[[bytes], int],
        head: bytes = b"",
    ) -> None:
        self._line_of = line_of
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        self._file = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
        try:
            self._last = self._mended(path, number_of)
            if self._file.tell() == 0 and head:
                self._write(head)
            _sync_folder(path.parent)
        except BaseException:
            self._file.close()
            raise

    def append(self, row: Mapping[str, Any]) -> None:
        """Append a row, unless it is already there. It is on the disk when this returns.

        Raises:
          OSError: it cannot be written.
        """
        if row["number"] > self._last:
            self._write(self._line_of(row))
            self._last = row["number"]

    def __enter__(self) -> "AppendedFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _write(self, line: bytes) -> None:
        written = 0
        while written < len(line):
            written += self._file.write(line[written:]) or 0
        os.fsync(self._file.fileno())

    def _mended(self, path: Path, number_of: Callable[[bytes], int]) -> int:
        """Cut off everything after the last end of a line, go to the end, and read the number of the last row."""
        size, tail = self._file.seek(0, os.SEEK_END), b""
        # Read from the end until there is a whole line, with the end of the line before it.
        while len(tail) < size and tail[: tail.rfind(b"\n") + 1].count(b"\n") < 2:
            start = max(0, size - len(tail) - _STEP)
            self._file.seek(start)
            tail = self._file.read(size - len(tail) - start) + tail
        whole = tail[: tail.rfind(b"\n") + 1]
        if len(whole) < len(tail):
            self._file.truncate(size - len(tail) + len(whole))
        self._file.seek(0, os.SEEK_END)
        lines = whole.splitlines()
        if not lines:
            return 0
        try:
            return number_of(lines[-1])
        except ValueError as error:
            raise ArgumentError(f"{path}, whose last line cannot be read ({error})", "a row of a watch") from error


def _sync_folder(folder: Path) -> None:
    """Write the name of a new file to the disk, if the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
