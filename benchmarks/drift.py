"""How soon the drift test notices a change, and how often it alarms without one, on simulated lines.

    python -m benchmarks.drift --json drift.json

Scores are normal. Each line has held-out parts of its own. It runs for some parts without a change, then with it, and
the number of parts from the change to the alarm is counted. The test is that of `jaxunreg score --drift`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.inspection.drift import advance, first_state
from jaxunreg.progress import with_bar


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to simulate, and where to write it.

    Attributes:
      lines: simulated lines for each change and number of held-out parts.
      held_out: numbers of held-out parts.
      false_positive_rate: of the threshold.
      alpha: the probability of a false alarm that the test promises.
      before: parts before the change.
      after: parts after the change; a line that does not alarm in them has missed it.
      seed: of the scores.
      json: where to write the list of results.
    """

    lines: int = 300
    held_out: tuple[int, ...] = (19, 50, 200)
    false_positive_rate: float = 0.05
    alpha: float = 0.01
    before: int = 100
    after: int = 300
    seed: int = 0
    json: Path | None = None

    def __post_init__(self) -> None:
        for name in ("lines", "after"):
            if getattr(self, name) < 1:
                raise ArgumentError(argument(name, getattr(self, name)), "at least 1")


class Change(NamedTuple):
    """What changes: normal scores move and spread, and a share of the parts is far above the threshold."""

    name: str
    shift: float = 0.0
    scale: float = 1.0
    defects: float = 0.0


CHANGES = (
    Change("none"),
    Change("scores rise by half a standard deviation", shift=0.5),
    Change("scores rise by one standard deviation", shift=1.0),
    Change("scores fall by one standard deviation", shift=-1.0),
    Change("scores spread half as far", scale=0.5),
    Change("one part in five is a defect", defects=0.2),
    Change("all parts are far above the threshold", defects=1.0),
)
_FAR = 100.0


def main(options: Options) -> list[dict[str, Any]]:
    """Simulate, print and write."""
    settings = [(change, count) for change in CHANGES for count in options.held_out]
    rows = [
        simulate(change, count, options)
        for change, count in with_bar(settings, len(settings), "simulating", visible=True)
    ]
    table = Table(title=f"parts from the change to an alarm, alpha = {options.alpha:g}")
    for column in ("change", "held-out parts", "median", "share that alarms", "by which test"):
        table.add_column(column)
    for row in rows:
        median = "-" if row["median"] is None else f"{row['median']:.0f}"
        table.add_row(row["change"], str(row["held_out"]), median, f"{100 * row['share']:.0f} %", row["by"] or "")
    Console().print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return rows


def simulate(change: Change, held_out: int, options: Options) -> dict[str, Any]:
    """One change, and one number of held-out parts.

    Returns:
      The share of the lines that alarm after the change, the median number of parts until then over all lines (None
      where fewer than half of them alarm), the test that alarms in more of them, and the share that alarmed before.
    """
    rng = np.random.default_rng([options.seed, held_out, CHANGES.index(change)])
    known = np.sort(rng.normal(size=(options.lines, held_out)), axis=1)
    exceeding = int((held_out + 1) * options.false_positive_rate)
    state, level = first_state(held_out, (options.lines,)), np.log(2.0 / options.alpha)
    noticed = np.full((options.lines, 2), np.inf)
    for part in range(-options.before, options.after):
        now = change if part >= 0 else CHANGES[0]
        score = now.shift + now.scale * rng.normal(size=options.lines)
        score[rng.random(options.lines) < now.defects] = _FAR
        place = (known < score[:, None]).sum(axis=1)
        state = advance(state, place, rng.random(options.lines), exceeding)
        alarms = np.stack([state.drift.log_highest, state.excess.log_highest], axis=1) >= level
        noticed = np.where(alarms & np.isinf(noticed), part + 1, noticed)
    soonest = noticed.min(axis=1)
    early = soonest <= 0
    median = float(np.median(soonest[~early]))
    drift, excess = np.isfinite(noticed[~early]).mean(axis=0)
    return {
        "change": change.name,
        "held_out": held_out,
        "lines": options.lines,
        "alpha": options.alpha,
        "median": median if np.isfinite(median) else None,
        "share": float(np.isfinite(soonest[~early]).mean()),
        "by": None if drift == excess == 0.0 else "drift" if drift >= excess else "excess",
        "share_before": float(early.mean()),
    }


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
