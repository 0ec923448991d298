"""The rows of `jaxunreg score`, as CSV or as JSON lines."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from jaxunreg.cli.console import say
from jaxunreg.cli.options import CommandError
from jaxunreg.cli.places import is_special
from jaxunreg.csv_rows import CsvRows
from jaxunreg.files import growing
from jaxunreg.inspection.calibrated_scorer import CalibratedScorer
from jaxunreg.inspection.detector_folder import cannot_write
from jaxunreg.inspection.verdict import ImageVerdict
from jaxunreg.text import is_utf8, printable

COLUMNS = ("path", "score", "p_value", "threshold", "verdict", "top", "left", "height", "width", "heat_map", "reason")

_PATHS = ("path", "heat_map", "mask", "map")

Format: TypeAlias = Literal["csv", "jsonl"]

WriteRow: TypeAlias = Callable[[Mapping[str, Any]], None]
"""A function that writes a row at once, from a mapping of columns to values. Missing columns stay empty."""


def verdict_columns(detector: CalibratedScorer) -> list[str]:
    """Return the columns of a detector's verdicts besides `COLUMNS`."""
    band = ["review_threshold"] if detector.review_rate is not None else []
    return [*band, "named_regions"] if detector.named_regions else band


def verdict_cells(verdict: ImageVerdict, format: Format) -> dict[str, Any]:
    """Return the cells of a verdict.

    Args:
      verdict: verdict on an image.
      format: format of the rows. In JSON lines, each named region has an object. CSV names those that are anomalous.
    """
    named: Any = [region._asdict() for region in verdict.named]
    if format == "csv":
        named = ", ".join(region.name for region in verdict.named if region.is_anomalous)
    return {
        "score": verdict.score,
        "p_value": verdict.p_value,
        "threshold": verdict.threshold,
        "verdict": verdict.outcome,
        **verdict.worst._asdict(),
        "review_threshold": verdict.review_threshold,
        "named_regions": named,
    }


@contextlib.contextmanager
def writing_rows(output: str, format: Format, more: Sequence[str] = ()) -> Iterator[WriteRow]:
    """Write rows to stdout, or to a file that appears when it is complete.

    Until then, the rows are in a file beside it whose name ends in `.part`. After a stop or an error, they stay there.

    Args:
      output: the name of the file, or `-` for stdout.
      format: a header and rows, or a JSON object a line.
      more: columns besides `COLUMNS`.

    Yields:
      A function that writes a row.

    Raises:
      CommandError: another run is writing into the file.
      CheckpointError: the file cannot be written.
    """
    if output == "-":
        yield _Writer(sys.stdout, format, more).write
        return
    path = Path(output)
    if is_special(path):
        with path.open("w", encoding="utf-8", newline="") as file:
            yield _Writer(file, format, more).write
        return
    target = path.resolve()  # A link stays a link.
    rows = None
    with _told(output), growing(target) as part:
        try:
            with part.open("w", encoding="utf-8", newline="") as file:
                rows = _Writer(file, format, more)
                yield rows.write
        except BaseException:
            if rows is not None and rows.written:
                say(f"rows that were there before: {rows.written}, in {part}")
            else:
                part.unlink()
            raise


@contextlib.contextmanager
def _told(output: str) -> Iterator[None]:
    """Turn the operating system's errors about the file of rows into an error for the user."""
    try:
        yield
    except BlockingIOError as error:
        raise CommandError(
            f"--output {output}, where another run is writing right now",
            "a separate file for each run",
            "wait until that run has ended, or choose another file",
            field="output",
        ) from error
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)).name == f"{Path(output).resolve().name}.part":
            raise cannot_write(f"--output {output}", error) from error
        raise


class _Writer:
    """A writer of rows into a text file, which counts them."""

    def __init__(self, file: Any, format: Format, more: Sequence[str]) -> None:
        self.written = 0
        self._file, self._format, self._columns = file, format, (*COLUMNS, *more)
        paths = [column for column, name in enumerate(self._columns) if name in _PATHS]
        self._table = CsvRows(file, paths=paths)
        # With JSON's escapes, which the encoding of the file need not support.
        self._ascii = (getattr(file, "encoding", None) or "utf-8").lower().replace("-", "") != "utf8"
        if format == "csv":
            self._table.write(self._columns)

    def write(self, row: Mapping[str, Any]) -> None:
        if self._format == "csv":
            self._table.write([row.get(name) for name in self._columns])
        else:
            text = {name: value if is_utf8(str(value)) else printable(value) for name, value in row.items()}
            row = {name: text.get(name) for name in self._columns}
            self._file.write(json.dumps(row, ensure_ascii=self._ascii) + "\n")
        self._file.flush()
        self.written += 1
