"""Table I and the table by kind of defect, from `results.json` alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.manufacturing.models import MODELS, describe_setting, letter
from jaxunreg.reports.tables import Cell, Table


def table_one(results: Mapping[str, Any]) -> Table:
    """Table I, from `results.json`; the page adds a note on how the images were split."""
    header = [
        "model",
        "score",
        "setting",
        "ROC AUC",
        "best trial",
        "average precision",
        "pixel ROC AUC",
        "AUPRO",
        "rank correlation with complexity",
        "ROC AUC, chosen on the test images",
    ]
    rows: list[list[Cell]] = []
    for row in results["rows"]:

        def over_trials(key: str, part: str | None = None, row: Mapping[str, Any] = row) -> str:
            values = [trial[key][part] if part else trial[key] for trial in row["trials"] if key in trial]
            return _mean_and_spread(values) if values else ""

        rows.append(
            [
                MODELS[row["model"]].label,
                letter(row["score"]),
                describe_setting(row["setting"]),
                over_trials("auc", "value"),
                f"{max(trial['auc']['value'] for trial in row['trials']):.3f}",
                over_trials("average_precision", "value"),
                over_trials("pixel_auc"),
                over_trials("aupro"),
                over_trials("complexity_rho", "value"),
                f"{_mean_and_spread(row['paper_way']['auc'])} ({describe_setting(row['paper_way']['setting'])})",
            ]
        )
    return Table("Table I", header, rows, best=None)


def by_defect(results: Mapping[str, Any]) -> Table:
    """ROC AUC of each kind of defect against the normal images."""
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


def _mean_and_spread(values: Sequence[float]) -> str:
    """Mean, and standard deviation where there are several."""
    mean = f"{np.mean(values):.3f}"
    return f"{mean} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else mean
