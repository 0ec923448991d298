"""Table I and the page of the manufacturing study, from its results alone."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxunreg.datasets.folders.dataset import FolderDataset
from jaxunreg.decomposition import LETTERS
from jaxunreg.reports.figures import Section
from jaxunreg.reports.page import write_page
from jaxunreg.reports.tables import Cell, Table

LABELS = {
    "vae": "VAE",
    "ae": "AE",
    "gmm": "GMM",
    "pca": "PCA residual",
    "forest": "Isolation Forest",
    "svm": "One-class SVM",
}
"""The models, in the order of the table."""

NAMES = {**LETTERS, "score": "score"}


def describe_setting(setting: Mapping[str, float]) -> str:
    """E.g. `N_c 16, N_z 20`."""
    return ", ".join(f"{name} {value:g}" for name, value in setting.items())


def mean_and_spread(values: Sequence[float]) -> str:
    """Mean, and standard deviation where there are several."""
    mean = f"{np.mean(values):.3f}"
    return f"{mean} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else mean


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
            return mean_and_spread(values) if values else ""

        rows.append(
            [
                LABELS[row["model"]],
                NAMES[row["score"]],
                describe_setting(row["setting"]),
                over_trials("auc", "value"),
                f"{max(trial['auc']['value'] for trial in row['trials']):.3f}",
                over_trials("average_precision", "value"),
                over_trials("pixel_auc"),
                over_trials("aupro"),
                over_trials("complexity_rho", "value"),
                f"{mean_and_spread(row['paper_way']['auc'])} ({describe_setting(row['paper_way']['setting'])})",
            ]
        )
    return Table("Table I", header, rows, best=None)


def write(
    path: Path,
    data: FolderDataset,
    results: Mapping[str, Any],
    sections: Sequence[Section],
    command: str,
    *,
    record: Mapping[str, Any],
) -> None:
    """Write the page.

    Args:
      path: where to.
      data: the images.
      results: the content of `results.json`.
      sections: the figures.
      command: that made the run.
      record: the content of `config.json`.
    """
    split, config = results["split"], record["config"]
    warnings = []
    if split["validation"] == 0:
        warnings.append(
            "No images were set apart to choose settings on: they are chosen on the test images that they are measured "
            "on, so the figures are optimistic."
        )
    if split["untested"]:
        warnings.append(
            f"All images of {', '.join(split['untested'])} are among those that settings are chosen on, so nothing is "
            "measured of that."
        )
    if data.skipped:
        warnings.append(f"{len(data.skipped)} files were skipped; they are listed below.")
    note = (
        f"Mean and standard deviation over {split['trials']} {split['protocol']}. {how_chosen(split)} "
        "Pixel figures are of each model's setting for its headline score. The rank correlation is Spearman's, "
        "between a normal image's score and the bytes a pixel of its PNG."
    )
    write_page(
        path,
        title="Manufacturing study: parts rejected by their most anomalous patch",
        subtitle=f"{data.name}, preset {results['preset']}, seed {results['seed']}",
        command=command,
        warning=" ".join(warnings) or None,
        summary=summary(results),
        tables=[dataclasses.replace(table_one(results), note=note), by_defect(results)],
        sections=sections,
        details=details(data, results),
        config=config,
    )


def how_chosen(split: Mapping[str, Any]) -> str:
    """Which images settings are chosen on and measured on; `split` is that of the results."""
    if split["validation"] == 0:
        return (
            f"There are no validation images: settings are chosen on the {_counts(split, 'test')} test images that "
            "they are measured on, in every column, as the paper does."
        )
    return (
        f"Settings are chosen on {_counts(split, 'validation')} validation images and measured on "
        f"{_counts(split, 'test')} others, except in the last column, which does as the paper does."
    )


def _counts(split: Mapping[str, Any], kind: str) -> str:
    """How many images, which folds may have more or fewer of."""
    counts = {trial[kind] for trial in split["images_by_trial"]}
    return f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def summary(results: Mapping[str, Any]) -> str:
    """The result in words."""
    means = {
        (row["model"], row["score"]): float(np.mean([trial["auc"]["value"] for trial in row["trials"]]))
        for row in results["rows"]
    }
    best = max(means, key=lambda key: means[key])
    text = f"The best score is that of {LABELS[best[0]]}, {NAMES[best[1]]}, with a ROC AUC of {means[best]:.3f}."
    if ("vae", "m") in means:
        text = (
            f"With the unregularized score M the VAE reaches a ROC AUC of {means['vae', 'm']:.3f}, with the negative "
            f"ELBO L {means['vae', 'nelbo']:.3f}. " + text
        )
    return text


def by_defect(results: Mapping[str, Any]) -> Table:
    """ROC AUC of each kind of defect against the normal images."""
    defects = sorted({label for row in results["rows"] for trial in row["trials"] for label in trial["auc_by_defect"]})
    rows: list[list[Cell]] = [
        [
            f"{LABELS[row['model']]}, {NAMES[row['score']]}",
            *(float(np.mean([trial["auc_by_defect"][label] for trial in row["trials"]])) for label in defects),
        ]
        for row in results["rows"]
        if row["score"] in ("nelbo", "m", "score")
    ]
    return Table("ROC AUC by kind of defect", ["model", *defects], rows, within="column", note="Mean over trials.")


def details(data: FolderDataset, results: Mapping[str, Any]) -> dict[str, str]:
    """What else the page says of the run."""
    split = results["split"]
    return {
        "data set": f"{data.name}, layout {data.layout}: {data.split}",
        "images": f"{_counts(split, 'train')} to train on; {_counts(split, 'validation')} to choose on, "
        f"{split['validation_anomalous']} of them anomalous; {_counts(split, 'test')} to test on, "
        f"{split['test_anomalous']} of them anomalous",
        "SHA-256 of the data": results["data"]["fingerprint"],
        "skipped": "; ".join(f"{entry['path']} ({entry['reason']})" for entry in results["data"]["skipped"]) or "none",
        "device": results["device"],
        "versions": ", ".join(f"{package} {number}" for package, number in results["versions"].items()),
        "seconds by stage": ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in results["timings"].items()),
    }
