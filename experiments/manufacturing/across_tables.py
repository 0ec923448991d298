"""The table over data sets, from `results.json` alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxunreg.reports.tables import Cell, Table

from .across import MERITS, Merit, mean_over_sets

_SET_FOR = "set for"


def blocks(results: Mapping[str, Any]) -> list[Table]:
    """Return a table for each measured figure of merit: a row for each model, a column for each data set."""
    return [_block(results, merit) for merit in MERITS if results["merits"][merit.key]]


def whole(results: Mapping[str, Any]) -> Table:
    """Return all as one table, with the name of the figure of merit in the first column."""
    parts = blocks(results)
    rows = [[table.caption, *row] for table in parts for row in table.rows]
    return Table("All figures", ["figure", *parts[0].header], rows, best=None)


def calibrated_rate(split: Mapping[str, Any]) -> float:
    """Return the false-positive rate for which a data set's thresholds were set; `split` is from its `results.json`."""
    lowest = 1 / (1 + min(trial["calibration"] for trial in split["images_by_trial"]))
    return max(split["false_positive_rate_wanted"], lowest)


def _block(results: Mapping[str, Any], merit: Merit) -> Table:
    values = results["merits"][merit.key]
    names = [name for name in results["data"] if any(name in of_model for of_model in values.values())]
    rows: list[list[Cell]] = []
    if merit.key == "false_positive_rate":
        rates = [calibrated_rate(results["splits"][name]) for name in names]
        rows.append([_SET_FOR, *rates, float(np.mean(rates))])
    for label, by_set in values.items():
        means = [float(np.mean(by_set[name])) if name in by_set else None for name in names]
        rows.append([label, *(_cell(mean, merit) for mean in (*means, mean_over_sets(values, label)))])
    # Data sets that lack this figure have empty columns, so that all blocks have the same width.
    places = {name: k for k, name in enumerate(names, 1)}
    wide = [[row[0], *(row[places[n]] if n in places else None for n in results["data"]), row[-1]] for row in rows]
    return Table(merit.label, ["model", *results["data"], "mean"], wide, best=merit.best, within="column")


def _cell(value: float | None, merit: Merit) -> Cell:
    if value is None:
        return None
    return round(value) if merit.digits == 0 else f"{value:.{merit.digits}f}" if merit.best is None else value
