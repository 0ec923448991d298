"""The rows of `jaxunreg score`, as CSV or as JSON lines."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from jaxunreg.cli.console import say
from jaxunreg.cli.options import CommandError
from jaxunreg.cli.places import is_special
from jaxunreg.csv_rows import CsvRows
from jaxunreg.files import growing
from jaxunreg.inspection.detector_folder import cannot_write
from jaxunreg.text import is_utf8, printable

COLUMNS = ("path", "score", "p_value", "threshold", "verdict", "top", "left", "height", "width", "heat_map", "reason")

Format: TypeAlias = Literal["csv", "jsonl"]

WriteRow: TypeAlias = Callable[[Mapping[str, Any]], None]
"""Writes a row, from the name of a column to its value, at once; a column that is left out stays empty."""


@contextlib.contextmanager
def writing_rows(output: str, format: Format) -> Iterator[WriteRow]:
    """Write rows to stdout, or to a file that appears when all of them are in it.

    Until then the rows are in a file beside it, whose name ends in `.part`. There they stay after a stop or an error.

    Args:
      output: the name of the file, or `-` for stdout.
      format: a header and rows, or a JSON object a line.

    Yields:
      A function that writes a row.

    Raises:
      CommandError: another run is writing into the file.
      CheckpointError: the file cannot be written.
    """
    if output == "-":
        yield _Writer(sys.stdout, format).write
        return
    path = Path(output)
    if is_special(path):
        with path.open("w", encoding="utf-8", newline="") as file:
            yield _Writer(file, format).write
        return
    target = path.resolve()  # A link stays one.
    rows = None
    with _told(output), growing(target) as part:
        try:
            with part.open("w", encoding="utf-8", newline="") as file:
                rows = _Writer(file, format)
                yield rows.write
        except BaseException:
            if rows is not None and rows.written:
                say(f"rows that were there before: {rows.written}, in {part}")
            else:
                part.unlink()
            raise


@contextlib.contextmanager
def _told(output: str) -> Iterator[None]:
    """Turn what the operating system says of the file of the rows into an error for the user."""
    try:
        yield
    except BlockingIOError as error:
        raise CommandError(
            f"--output {output}, into which another run is writing right now",
            "a file of its own for each run",
            "wait until that run has ended, or choose another file",
            field="output",
        ) from error
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)).name == f"{Path(output).resolve().name}.part":
            raise cannot_write(f"--output {output}", error) from error
        raise


class _Writer:
    """Writes rows into a text file, and counts them."""

    def __init__(self, file: Any, format: Format) -> None:
        self.written = 0
        self._file, self._format = file, format
        self._table = CsvRows(file, paths=[COLUMNS.index(name) for name in ("path", "heat_map")])
        # With escapes of JSON where the file's own would be none.
        self._ascii = (getattr(file, "encoding", None) or "utf-8").lower().replace("-", "") != "utf8"
        if format == "csv":
            self._table.write(COLUMNS)

    def write(self, row: Mapping[str, Any]) -> None:
        if self._format == "csv":
            self._table.write([row.get(name) for name in COLUMNS])
        else:
            text = {name: value if is_utf8(str(value)) else printable(value) for name, value in row.items()}
            self._file.write(json.dumps({name: text.get(name) for name in COLUMNS}, ensure_ascii=self._ascii) + "\n")
        self._file.flush()
        self.written += 1
