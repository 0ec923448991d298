"""Rows of CSV in which a spreadsheet cannot run the name of a file or folder."""

import csv
import re
from collections.abc import Iterable, Sequence
from typing import Any

from jaxunreg.text import printable

# A cell that begins with one of these is a formula. Some spreadsheets take the wide forms for them too.
_SIGNS = "[-=+@|%\uff1d\uff0b\uff0d\uff20]"
_FORMULA = re.compile(rf"\s*{_SIGNS}")

# In many countries a spreadsheet cuts lines at semicolons, and would find a formula after one, quoted or not.
_CUT = re.compile(rf";(?=[\s\"']*{_SIGNS})")


class CsvRows:
    r"""A writer of rows of CSV into a text file.

    Text that would be a formula in a spreadsheet gets `'` in front, and a path `./`, so that it is still the path.
    Control characters become escapes, and so does a semicolon before a formula. Numbers stay as they are.

    Args:
      file: a text file that was opened with `newline=""`.
      paths: the columns that hold paths.

    >>> import sys
    >>> rows = CsvRows(sys.stdout, paths=[0])
    >>> rows.write(["=1+1.png", "=1+1", -1.5, None, "-1", "a,b", "a; b"])
    ./=1+1.png,'=1+1,-1.5,,-1,"a,b",a; b
    >>> rows.write(["a;=1+1.png"])
    a\x3b=1+1.png
    """

    def __init__(self, file: Any, *, paths: Iterable[int] = ()) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._paths = frozenset(paths)

    def write(self, row: Sequence[Any]) -> None:
        """Write a row."""
        self._writer.writerow(
            _harmless(printable(cell), "./" if column in self._paths else "'") if isinstance(cell, str) else cell
            for column, cell in enumerate(row)
        )


def _harmless(text: str, prefix: str) -> str:
    text = _CUT.sub(r"\\x3b", text)
    if not _FORMULA.match(text):
        return text
    try:
        float(text)
    except ValueError:
        return f"{prefix}{text}"
    return text
