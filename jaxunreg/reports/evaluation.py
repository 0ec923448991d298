"""An evaluation as files: its page, its figures, and its numbers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxunreg.csv_rows import CsvRows
from jaxunreg.datasets.folders.unusable import Skipped
from jaxunreg.decomposition import LETTERS
from jaxunreg.files import replacing
from jaxunreg.inspection.evaluation import Evaluation
from jaxunreg.provenance import device, versions
from jaxunreg.reports.evaluation_figures import draw_evaluation
from jaxunreg.reports.evaluation_tables import tabulate_evaluation
from jaxunreg.reports.page import write_page
from jaxunreg.text import printable


def write_evaluation(
    output: Path,
    found: Evaluation,
    data: Mapping[str, Any],
    *,
    skipped: Sequence[Skipped],
    images_used: str,
    command: str,
) -> Path:
    """Write `index.html`, its figures, `evaluation.json` and `scores.csv`, each whole or not at all.

    Args:
      output: a folder, which is made if it does not exist.
      found: the evaluation.
      data: `FolderDataset.describe()` of the images.
      skipped: files that were left out.
      images_used: a sentence on how the images were chosen.
      command: the command that was run.

    Returns:
      The path of the page.

    Raises:
      OSError: the folder cannot be written.
    """
    output.mkdir(parents=True, exist_ok=True)
    # The numbers come first, since a folder with `evaluation.json` may be written again after an interrupt.
    content = _content(found, data, skipped, images_used)
    _write_numbers(output, found, content)
    figures = draw_evaluation(found, output / "figures", name=data["name"])
    counts = found.results["images"]
    page = output / "index.html"
    write_page(
        page,
        title=f"Detector on {data['name']}",
        subtitle=f"{counts['normal']} normal images and {counts['anomalous']} defects",
        command=command,
        warning=None,
        summary=_summary(found),
        tables=tabulate_evaluation(found),
        sections=figures.sections,
        details=_details(found, data, skipped, images_used),
        config=content["model"],
    )
    return page


def _content(
    found: Evaluation, data: Mapping[str, Any], skipped: Sequence[Skipped], images_used: str
) -> dict[str, Any]:
    """Return the content of `evaluation.json`."""
    return {
        **found.describe(),
        "data": data,
        "images_used": images_used,
        "skipped": [{"path": str(path), "reason": reason} for path, reason in skipped],
        "versions": versions(),
        "device": device(),
        **found.results,
    }


def _write_numbers(output: Path, found: Evaluation, content: Mapping[str, Any]) -> None:
    with replacing(output / "evaluation.json") as file:
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    with replacing(output / "scores.csv") as path, path.open("w", encoding="utf-8", newline="") as table:
        rows = list(found.rows())
        writer = CsvRows(table, paths=[list(rows[0]).index("path")])
        writer.write(list(rows[0]))
        for row in rows:
            writer.write(list(row.values()))


def _summary(found: Evaluation) -> str:
    area, verdicts = found.results["image"][found.detector.term]["roc_auc"], found.results["verdicts"]
    return (
        f"By {LETTERS[found.detector.term]} the detector ranks a defect above a normal image with probability "
        f"{area['value']:.3f} ({area['low']:.3f}-{area['high']:.3f}). At its threshold it finds "
        f"{100 * verdicts['true_positive_rate']:.1f} % of the defects and calls "
        f"{100 * verdicts['false_positive_rate']:.1f} % of the normal images anomalous; it was calibrated for at most "
        f"{100 * verdicts['false_positive_rate_wanted']:g} %."
    )


def _details(
    found: Evaluation, data: Mapping[str, Any], skipped: Sequence[Skipped], images_used: str
) -> dict[str, str]:
    record = found.detector.record
    return {
        "data set": f"{data['name']}, layout {data['layout']}",
        "images": images_used,
        "SHA-256 of the images": found.images.fingerprint,
        "threshold": found.detector.summary(),
        "trained on": f"{record.get('trained_on')} images of {record.get('data', {}).get('name', 'arrays')}",
        **_learning(record),
        "device": device(),
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
        **{printable(f"skipped: {path}"): printable(reason) for path, reason in skipped},
    }


def _learning(record: Mapping[str, Any]) -> dict[str, str]:
    """Return how the detector was made: the choice of its Gaussian, or the training of its model."""
    if "features" not in record:
        return {"training": json.dumps(record.get("config", {}).get("train", {}))}
    made = record["features"]
    height, width = made["working_size"]
    candidates = ", ".join(
        f"{_gaussian(entry)} {entry['nats']:.1f}" for entry in sorted(made["held_out_nats"], key=lambda x: x["nats"])
    )
    return {
        "feature network": f"{made['network']}, SHA-256 {made['sha256']}",
        "working size": f"{height}x{width} pixels, a map of {made['map'][0]}x{made['map'][1]} places",
        "Gaussian": _gaussian(made["whitening"]),
        f"nats a place of {made['chosen_on']} images that were set apart": candidates,
        "VAE on the map, nats a place of the same images in turns": ", ".join(
            f"{_vae(entry)} {entry['nats']:.1f}" for entry in sorted(made["vae"], key=lambda x: x["nats"])
        ),
    }


def _vae(entry: Mapping[str, Any]) -> str:
    if entry["sigma"] == "one":
        return "the Gaussian"
    if entry["latent_dim"] == 0:
        return "the Gaussian at a scale of its own"
    sigma = "a common sigma" if entry["sigma"] == "common" else "a sigma that follows the image"
    return f"{entry['latent_dim']} latent variables, {sigma}"


def _gaussian(config: Mapping[str, Any]) -> str:
    return f"a place, shrinkage {config['shrinkage']:g}" if config["per_place"] else "one for all places"
