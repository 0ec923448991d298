"""The rows of `jaxunreg score`, as CSV or as JSON lines."""

import contextlib
import csv
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from jaxunreg.cli.console import say
from jaxunreg.cli.places import is_special
from jaxunreg.files import replacing
from jaxunreg.inspection.detector_folder import cannot_write
from jaxunreg.text import printable

COLUMNS = ("path", "score", "p_value", "threshold", "verdict", "top", "left", "height", "width", "heat_map", "reason")

Format: TypeAlias = Literal["csv", "jsonl"]

WriteRow: TypeAlias = Callable[[Mapping[str, Any]], None]
"""Writes a row, from the name of a column to its value, at once; a column that is left out stays empty."""


@contextlib.contextmanager
def writing_rows(output: str, format: Format) -> Iterator[WriteRow]:
    """Write rows to stdout, or to a file that appears when all of them are in it.

    After a stop or an error the rows that were written are in a file beside it, whose name ends in `.part`.

    Args:
      output: the name of the file, or `-` for stdout.
      format: a header and rows, or a JSON object a line.

    Yields:
      A function that writes a row.
    """
    if output == "-":
        yield _Writer(sys.stdout, format).write
        return
    path = Path(output)
    if is_special(path):
        with path.open("w", encoding="utf-8", newline="") as file:
            yield _Writer(file, format).write
        return
    # A link stays one.
    with replacing(path.resolve()) as temporary:
        rows = None
        try:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                rows = _Writer(file, format)
                yield rows.write
        except BaseException as error:
            if rows is not None and rows.written:
                part = path.resolve().with_name(f"{path.name}.part")
                os.replace(temporary, part)
                say(f"rows that were there before: {rows.written}, in {part}")
            if isinstance(error, OSError) and error.filename is None:
                raise cannot_write(f"--output {output}", error) from error
            raise


class _Writer:
    """Writes rows into a text file, and counts them."""

    def __init__(self, file: Any, format: Format) -> None:
        self.written = 0
        self._file, self._format = file, format
        self._table = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        if format == "csv":
            self._table.writeheader()

    def write(self, row: Mapping[str, Any]) -> None:
        row = {name: printable(value) if isinstance(value, str) else value for name, value in row.items()}
        if self._format == "csv":
            self._table.writerow(row)
        else:
            self._file.write(json.dumps({name: row.get(name) for name in COLUMNS}, ensure_ascii=False) + "\n")
        self._file.flush()
        self.written += 1
