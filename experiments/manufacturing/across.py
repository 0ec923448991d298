"""The joint results of several data sets: for each figure of merit, model and data set the value of each trial."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

from .models import MODELS, named


class Merit(NamedTuple):
    """A figure of merit.

    Attributes:
      key: its name in `results.json`.
      label: for people.
      best: whether a high value, a low value, or neither is good.
      part: the entry of the value, if it also has an interval.
      digits: digits after the point.
      of_model: whether all scores of a model share it.
    """

    key: str
    label: str
    best: Literal["max", "min"] | None
    part: str | None = None
    digits: int = 3
    of_model: bool = False


MERITS = (
    Merit("auc", "Image ROC AUC", "max", "value"),
    Merit("average_precision", "Average precision", "max", "value"),
    Merit("missed", "Share of defects missed at the calibrated threshold", "min"),
    Merit("false_positive_rate", "False-positive rate that the threshold reached", None),
    Merit("pixel_auc", "Pixel ROC AUC", "max"),
    Merit("aupro", "AUPRO", "max"),
    Merit("complexity_rho", "Rank correlation with complexity", None, "value"),
    Merit("held_out_nats", "Held-out nats", None, None, 2, True),
    Merit("fit_seconds", "Seconds to fit", "min", None, 0, True),
    Merit("milliseconds", "Milliseconds an image", "min", None, 0, True),
    Merit("peak_mb", "MB to fit", "min", None, 0, True),
)
"""The blocks of the table over data sets, in their order."""

Values = Mapping[str, Mapping[str, list[float]]]
"""For each model with its score and each data set the value of each trial."""


def across(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of `results.json` of a run over several data sets.

    Args:
      results: for each data set the content of its `results.json`.
    """
    return {
        "data": list(results),
        "splits": {name: of_set["split"] for name, of_set in results.items()},
        "merits": {merit.key: _values(results, merit) for merit in MERITS},
    }


def _values(results: Mapping[str, Mapping[str, Any]], merit: Merit) -> dict[str, dict[str, list[float]]]:
    values: dict[str, dict[str, list[float]]] = {}
    for name, of_set in results.items():
        for row in of_set["rows"]:
            model, score = row["model"], row["score"]
            if merit.of_model and score != MODELS[model].scores[0]:
                continue
            found = [trial[merit.key] for trial in row["trials"] if merit.key in trial]
            if found:
                label = MODELS[model].label if merit.of_model else named(model, score)
                values.setdefault(label, {})[name] = [one[merit.part] if merit.part else one for one in found]
    return values


def mean_over_sets(values: Values, label: str) -> float | None:
    """Return a model's mean over data sets of the means of trials, or None if it lacks a data set of others."""
    measured = {name for of_model in values.values() for name in of_model}
    if set(values[label]) != measured:
        return None
    return float(np.mean([np.mean(trials) for trials in values[label].values()]))
