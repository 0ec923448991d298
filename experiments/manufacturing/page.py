"""The page of the manufacturing study, from its results."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxunreg.datasets.folders.dataset import FolderDataset
from jaxunreg.reports.figures import Section
from jaxunreg.reports.page import write_page

from .models import HIGHEST, named
from .tables import RULES, by_defect, costs, table_one


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
      path: the file.
      data: the images.
      results: the content of `results.json`.
      sections: the figures.
      command: the command that made the run.
      record: the content of `config.json`.
    """
    split = results["split"]
    warnings = []
    if split["chosen_on"] == "test":
        warnings.append(
            "No images were set apart to choose settings on: they are chosen on the test images that they are measured "
            "on, so the figures are optimistic."
        )
    if split["untested"]:
        warnings.append(
            f"Settings are chosen on all images of {', '.join(split['untested'])}, so nothing is measured on these."
        )
    if data.skipped:
        warnings.append(f"{len(data.skipped)} files were skipped; they are listed below.")
    note = (
        f"Mean and standard deviation over {split['trials']} {split['protocol']}{_of_pixels(split)}. "
        f"{how_chosen(split)} {how_calibrated(split)} "
        f"{RULES if any(row['score'] == HIGHEST for row in results['rows']) else ''} "
        "Pixel figures are of each model's setting for its headline score. The rank correlation is Spearman's, "
        "between a normal image's score and the bytes a pixel of its PNG."
    )
    write_page(
        path,
        title="Manufacturing study: parts rejected by their most anomalous patch",
        subtitle=f"{data.name}, preset {results['preset']}, seed {results['seed']}",
        command=command,
        warning=" ".join(warnings) or None,
        summary=_summary(results),
        tables=[dataclasses.replace(table_one(results), note=note), by_defect(results), costs(results)],
        sections=sections,
        details=_details(data, results),
        config=record["config"],
    )


def how_chosen(split: Mapping[str, Any]) -> str:
    """Say on which images settings are chosen and measured; `split` is the entry of `results.json`."""
    if split["chosen_on"] is None:
        return f"Everything is measured on {_counts(split, 'test')} test images: no model has settings to choose from."
    if split["chosen_on"] == "test":
        return (
            f"There are no validation images: settings are chosen on the {_counts(split, 'test')} test images that "
            "they are measured on, in every column, as in the paper."
        )
    return (
        f"Settings are chosen on {_counts(split, 'validation')} validation images and measured on "
        f"{_counts(split, 'test')} others, except in the last column, which follows the paper."
    )


def how_calibrated(split: Mapping[str, Any]) -> str:
    """Say for which false-positive rate thresholds were set; `split` is the entry of `results.json`."""
    wanted = split["false_positive_rate_wanted"]
    taken = max(wanted, *(1 / (trial["calibration"] + 1) for trial in split["images_by_trial"]))
    lowest = f", the lowest that so few support in place of {100 * wanted:g} %" if taken > wanted else ""
    return (
        f"Thresholds are set for a false-positive rate of {100 * taken:.3g} %{lowest}, on "
        f"{_counts(split, 'calibration')} normal images that no model learned from."
    )


def _counts(split: Mapping[str, Any], kind: str) -> str:
    """Return how many images there are, which may differ between folds."""
    counts = {trial[kind] for trial in split["images_by_trial"]}
    return f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def _of_pixels(split: Mapping[str, Any]) -> str:
    fewer = split["pixel_trials"]
    return "" if fewer == split["trials"] else f", of the models of pixels over the first {fewer}".replace(" 1", "")


def _summary(results: Mapping[str, Any]) -> str:
    """Return the result in words."""
    means = {
        (row["model"], row["score"]): float(np.mean([trial["auc"]["value"] for trial in row["trials"]]))
        for row in results["rows"]
    }
    text = []
    for model, name in (("features", "on features"), ("vae", "on pixels")):
        if (model, "m") in means:
            text.append(
                f"With the unregularized score M the VAE {name} reaches a ROC AUC of {means[model, 'm']:.3f}, with the "
                f"negative ELBO L {means[model, 'nelbo']:.3f}."
            )
    best = max(means, key=lambda key: means[key])
    text.append(f"The best score is that of {named(*best)}, with a ROC AUC of {means[best]:.3f}.")
    return " ".join(text)


def _details(data: FolderDataset, results: Mapping[str, Any]) -> dict[str, str]:
    """Return data, device, versions and timings, for the end of the page."""
    split = results["split"]
    return {
        "data set": f"{data.name}, layout {data.layout}: {data.split}",
        "images": f"{_counts(split, 'train')} to train on; {_counts(split, 'calibration')} to calibrate with; "
        f"{_counts(split, 'validation')} to choose on, "
        f"{split['validation_anomalous']} of them anomalous; {_counts(split, 'test')} to test on, "
        f"{split['test_anomalous']} of them anomalous",
        "SHA-256 of the data": results["data"]["fingerprint"],
        "skipped": "; ".join(f"{entry['path']} ({entry['reason']})" for entry in results["data"]["skipped"]) or "none",
        "device": results["device"],
        "versions": ", ".join(f"{package} {number}" for package, number in results["versions"].items()),
        "seconds by stage": ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in results["timings"].items()),
    }
