"""The record of the members of a part while they train: losses, evaluations and failures."""

import math
from typing import Any

import numpy as np

from jaxunreg.decomposition import Decomposition
from jaxunreg.sweep.result import Failure
from jaxunreg.text import rounded
from jaxunreg.training.state import StepMetrics


class PartHistory:
    """Losses, evaluations and failures of the members of a part, by their number in the part.

    Args:
      members: number of members.
      steps: number of training steps.

    Attributes:
      metrics: loss, D, A and M of each step, `[members, steps]`; NaN where a member has none.
      evaluations: the records of each member.
      failures: the failure of each member that has failed.
    """

    def __init__(self, members: int, steps: int) -> None:
        losses, *terms = np.full((4, members, steps), np.nan, np.float32)
        self.metrics = StepMetrics(losses, Decomposition(*terms))
        self.evaluations: list[list[dict[str, Any]]] = [[] for _ in range(members)]
        self.failures: dict[int, Failure] = {}

    @property
    def _curves(self) -> dict[str, Any]:
        return {"loss": self.metrics.loss, **self.metrics.terms._asdict()}

    def read(self, records: list[dict[str, Any]], first: int) -> None:
        """Read the lines of a log, in which the part's members count from `first`."""
        for record in records:
            if "member" in record:
                self.evaluations[record.pop("member") - first].append(record)
            else:
                for name, history in self._curves.items():
                    history[:, record["step"] - 1] = np.array(record[name], np.float32)

    def record(self, step: int, metrics: StepMetrics) -> None:
        """Record the losses of the steps after `step`, and the members that fail in them."""
        count = metrics.loss.shape[1]
        for k, losses in enumerate(metrics.loss):
            bad = np.flatnonzero(~np.isfinite(losses))
            if bad.size and k not in self.failures:
                self.failures[k] = Failure(step + int(bad[0]) + 1, float(losses[bad[0]]))
        new = {"loss": metrics.loss, **metrics.terms._asdict()}
        for name, history in self._curves.items():
            history[:, step : step + count] = new[name]
            for k, failure in self.failures.items():
                history[k, failure.step - (not math.isfinite(failure.loss)) :] = np.nan

    def step_records(self, step: int, count: int, rate: float) -> list[dict[str, Any]]:
        """Return the lines of the log for the steps after `step`, with null where a member has failed."""

        def value(x: float) -> float | None:
            return x if math.isfinite(x) else None

        return [
            {"step": after}
            | {name: [value(x) for x in history[:, after - 1].tolist()] for name, history in self._curves.items()}
            | {"images_per_second": round(rate, 1)}
            for after in range(step + 1, step + count + 1)
        ]

    def shown(self, step: int, rate: float) -> str:
        """Return the text of the progress bar after a step."""
        losses = self.metrics.loss[:, step - 1]
        losses = losses[np.isfinite(losses)]
        spread = f"loss {rounded(float(losses.min()))} to {rounded(float(losses.max()))}  " if losses.size else ""
        failed = f"  {len(self.failures)} failed" if self.failures else ""
        return f"{len(self.evaluations)} members  {spread}{rate:.0f} images/s{failed}"
