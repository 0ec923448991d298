"""The record of a run, a line a step."""

import json
from pathlib import Path
from typing import Any

from jaxunreg.files import replacing
from jaxunreg.serialization import to_json
from jaxunreg.training.state import StepMetrics


class MetricsLog:
    """`metrics.jsonl`: one JSON object a line, each with its `step`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, records: list[dict[str, Any]]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(to_json(record)) + "\n" for record in records)

    def read(self) -> list[dict[str, Any]]:
        """All that was written; nothing where there is no file."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]

    def cut(self, step: int) -> None:
        """Forget what was written after `step`: a killed run logs steps that its last checkpoint does not have."""
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (json.JSONDecodeError, KeyError):
                break  # The line that the kill cut short; nothing follows it.
        with replacing(self.path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


def step_records(step: int, metrics: StepMetrics, rate: float) -> list[dict[str, Any]]:
    """The lines of the steps after `step`."""
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
