"""The record of a run, a line a step."""

import json
import warnings
from pathlib import Path
from typing import Any

from jaxunreg.errors import CheckpointError
from jaxunreg.files import replacing
from jaxunreg.serialization import to_json
from jaxunreg.training.state import StepMetrics


class MetricsLog:
    """`metrics.jsonl`: one JSON object a line, each with its `step`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, records: list[dict[str, Any]]) -> None:
        """Add lines.

        Raises:
          CheckpointError: they cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(to_json(record)) + "\n" for record in records)
        except OSError as error:
            raise CheckpointError(
                f"an error while writing {self.path}: {error}",
                "to add a line a step",
                "free some disk space or choose another folder, and start again to go on from the last checkpoint",
            ) from error

    def read(self) -> list[dict[str, Any]]:
        """Return all records, or none if there is no file. A warning counts the lines that cannot be read."""
        return [record for record, _ in self._lines()]

    def cut(self, step: int) -> None:
        """Forget the records after `step`. A killed run logs steps that its last checkpoint does not have.

        It also forgets lines that cannot be read. A warning counts them.
        """
        if not self.path.exists():
            return
        kept = [line for record, line in self._lines() if record["step"] <= step]
        with replacing(self.path) as temporary:
            temporary.write_bytes(b"".join(line + b"\n" for line in kept))

    def _lines(self) -> list[tuple[dict[str, Any], bytes]]:
        """Return the records that can be read, and their lines."""
        if not self.path.exists():
            return []
        *lines, rest = self.path.read_bytes().split(b"\n")
        found = [(_record(line), line) for line in (*lines, rest)]
        # A kill may cut the last line short. That line was never complete, so nothing is lost with it.
        damaged = [number for number, (record, _) in enumerate(found[:-1], 1) if record is None]
        if damaged:
            warnings.warn(
                f"{len(damaged)} of {len(lines)} lines of {self.path} are damaged, the first is line {damaged[0]}; "
                "they are left out",
                stacklevel=3,
            )
        return [(record, line) for record, line in found if record is not None]


def _record(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, or None if it is no record of a step."""
    try:
        record = json.loads(line)
        return record if isinstance(record["step"], int) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def step_records(step: int, metrics: StepMetrics, rate: float) -> list[dict[str, Any]]:
    """Return the lines of the steps after `step`."""
    return [
        {
            "step": step + k + 1,
            "loss": metrics.loss[k],
            "d": metrics.terms.d[k],
            "a": metrics.terms.a[k],
            "m": metrics.terms.m[k],
            "images_per_second": round(rate, 1),
        }
        for k in range(len(metrics.loss))
    ]
