"""An evaluation as files: its page, its figures, and its numbers."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxunreg.datasets.folders.unusable import Skipped
from jaxunreg.decomposition import LETTERS
from jaxunreg.files import replacing
from jaxunreg.inspection.evaluation import Evaluation
from jaxunreg.plots import heat_map_examples, roc_comparison, scale_note, score_strips
from jaxunreg.provenance import device, versions
from jaxunreg.reports.evaluation_tables import evaluation_tables
from jaxunreg.reports.figures import Figures
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
      output: a folder; made if it does not exist.
      found: the evaluation.
      data: `FolderDataset.describe()` of the images.
      skipped: files that were left out.
      images_used: how the images were chosen, in a sentence.
      command: the command that was run.

    Returns:
      The page.

    Raises:
      OSError: the folder cannot be written.
    """
    detector, images, results = found.detector, found.images, found.results
    letter = LETTERS[detector.term]
    output.mkdir(parents=True, exist_ok=True)
    # First, since a folder with this file may be written again after an interrupt.
    content = {
        **found.describe(),
        "data": data,
        "images_used": images_used,
        "skipped": [{"path": str(path), "reason": reason} for path, reason in skipped],
        "versions": versions(),
        "device": device(),
        **results,
    }
    with replacing(output / "evaluation.json") as file:
        file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    with replacing(output / "scores.csv") as path, path.open("w", encoding="utf-8", newline="") as table:
        rows = list(found.rows())
        writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    figures = Figures(output / "figures")
    anomalous = images.is_anomalous
    figures.add(
        "roc",
        "ROC curves of the images",
        roc_comparison(
            {LETTERS[t]: (found.scores[t][~anomalous], found.scores[t][anomalous]) for t in ("m", "nelbo", "a", "d")},
            title=f"Images of {data['name']}",
        ),
        "The share of the defects that a threshold finds against the share of the normal images that it calls "
        "anomalous, for all thresholds; the area under each curve in parentheses.",
    )
    labels = list(images.labels)
    kinds = ["good", *sorted(set(labels) - {"good"})]
    figures.add(
        "scores",
        "Scores and threshold",
        score_strips(
            {
                f"{kind} ({labels.count(kind)})": found.scores[detector.term][[label == kind for label in labels]]
                for kind in kinds
            },
            threshold=detector.threshold,
            title=f"{letter} of the test images",
            label=f"{letter} of the most anomalous patch, nats",
        ),
        "One dot an image, and the median of each kind. What lies right of the dashed line is called anomalous; the "
        "threshold was set before, from held-out normal images.",
    )
    chosen = found.examples()
    pictures = [images[k] for k in chosen]
    heats = list(detector.heat_maps(iter(pictures), stride=found.heat_map_stride, smooth=True))
    figures.add(
        "heat_maps",
        "Heat maps",
        heat_map_examples(
            pictures,
            heats,
            [images.mask(k) for k in chosen],
            [(f"{labels[k]}: {_outcome(found, k)}", bool(found.is_flagged[k])) for k in chosen],
            scale=detector.heat_scale,
            title=f"{letter} by pixel, test images",
            label=f"{letter}, nats a pixel",
            mark=detector.pixel_levels[detector.term][1],
        ),
        "Of each kind the image with the median score, so neither the best nor the worst, and the normal image with "
        "the highest. Above as it is, with the defect outlined where it is known, and below with its heat map. "
        f"{scale_note(detector)}",
    )
    area = results["image"][detector.term]["roc_auc"]
    verdicts = results["verdicts"]
    page = output / "index.html"
    write_page(
        page,
        title=f"Detector on {data['name']}",
        subtitle=f"{results['images']['normal']} normal images and {results['images']['anomalous']} defects",
        command=command,
        warning=None,
        summary=f"By {letter} the detector ranks a defect above a normal image with probability {area['value']:.3f} "
        f"({area['low']:.3f}-{area['high']:.3f}). At its threshold it finds "
        f"{100 * verdicts['true_positive_rate']:.1f} % of the defects and calls "
        f"{100 * verdicts['false_positive_rate']:.1f} % of the normal images anomalous; it was calibrated for at most "
        f"{100 * verdicts['false_positive_rate_wanted']:g} %.",
        tables=evaluation_tables(found),
        sections=figures.sections,
        details=_details(found, data, skipped, images_used),
        config=content["model"],
    )
    return page


def _outcome(found: Evaluation, k: int) -> str:
    if found.images.is_anomalous[k]:
        return "found" if found.is_flagged[k] else "missed"
    return "false alarm" if found.is_flagged[k] else "passed"


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
        "training": json.dumps(record.get("config", {}).get("train", {})),
        "device": device(),
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
        **{printable(f"skipped: {path}"): printable(reason) for path, reason in skipped},
    }
