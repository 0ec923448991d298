"""Table I and the table by kind of defect, from `results.json` alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxunreg.reports.tables import Cell, Table

from .models import MODELS, describe_setting, letter

HOW_COSTS_ARE_MEASURED = (
    "Held-out nats are the mean negative log-likelihood of the normal images that set the threshold, in nats a place "
    "of the map for models of features, and in nats a value of a pixel for the VAE on pixels; the two cannot be "
    "compared. Times include reading the images, the feature network and compiling. Memory is the peak of a process "
    "that only does the fit of the first trial, with Python and JAX. The features are on disk before. "
    "`python -m benchmarks.features` measures the feature network alone."
)


RULES = (
    "PaDiM and PatchCore make an image's score of its map by the rules of their papers, and once more as the detector "
    "does, by the mean of the highest places."
)


def table_one(results: Mapping[str, Any]) -> Table:
    """Make Table I from `results.json`. The page adds a note on how the images were split."""
    header = [
        "model",
        "score",
        "setting",
        "ROC AUC",
        "best trial",
        "average precision",
        "defects missed",
        "false-positive rate",
        "pixel ROC AUC",
        "AUPRO",
        "rank correlation with complexity",
        "ROC AUC, chosen on the test images",
    ]
    rows: list[list[Cell]] = []
    for row in results["rows"]:

        def over_trials(key: str, part: str | None = None, row: Mapping[str, Any] = row) -> str:
            return _over_trials(row, key, part)

        rows.append(
            [
                MODELS[row["model"]].label,
                letter(row["score"]),
                describe_setting(row["setting"]),
                over_trials("auc", "value"),
                f"{max(trial['auc']['value'] for trial in row['trials']):.3f}",
                over_trials("average_precision", "value"),
                over_trials("missed"),
                over_trials("false_positive_rate"),
                over_trials("pixel_auc"),
                over_trials("aupro"),
                over_trials("complexity_rho", "value"),
                _in_the_papers_way(row["paper_way"]),
            ]
        )
    return Table("Table I", header, rows, best=None)


def by_defect(results: Mapping[str, Any]) -> Table:
    """Return the ROC AUC of each kind of defect against the normal images."""
    defects = sorted({label for row in results["rows"] for trial in row["trials"] for label in trial["auc_by_defect"]})
    rows: list[list[Cell]] = [
        [
            f"{MODELS[row['model']].label}, {letter(row['score'])}",
            *(float(np.mean([trial["auc_by_defect"][label] for trial in row["trials"]])) for label in defects),
        ]
        for row in results["rows"]
        if row["score"] in ("nelbo", "m", "score")
    ]
    return Table("ROC AUC by kind of defect", ["model", *defects], rows, within="column", note="Mean over trials.")


def costs(results: Mapping[str, Any]) -> Table:
    """Return the cost of each model, and the nats of held-out normal images if it is a density."""
    header = ["model", "held-out nats", "seconds to fit", "MB to fit", "milliseconds an image"]
    rows: list[list[Cell]] = []
    for row in results["rows"]:
        if rows and rows[-1][0] == MODELS[row["model"]].label:
            continue  # All scores of a model come from one fit.
        rows.append(
            [
                MODELS[row["model"]].label,
                _over_trials(row, "held_out_nats", digits=2),
                *(_over_trials(row, cost, digits=0) for cost in ("fit_seconds", "peak_mb", "milliseconds")),
            ]
        )
    return Table("Costs", header, rows, best=None, note=HOW_COSTS_ARE_MEASURED)


def _over_trials(row: Mapping[str, Any], key: str, part: str | None = None, digits: int = 3) -> str:
    values = [trial[key][part] if part else trial[key] for trial in row["trials"] if key in trial]
    return _mean_and_spread(values, digits) if values else ""


def _in_the_papers_way(found: Mapping[str, Any] | None) -> str:
    return "" if found is None else f"{_mean_and_spread(found['auc'])} ({describe_setting(found['setting'])})"


def _mean_and_spread(values: Sequence[float], digits: int = 3) -> str:
    """Return the mean, and the standard deviation if there are several values."""
    mean = f"{np.mean(values):.{digits}f}"
    return f"{mean} ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else mean
