"""The tables of an evaluation: images, pixels, verdicts and complexity."""

from collections.abc import Mapping
from typing import Any

from jaxunreg.decomposition import LETTERS, TERMS
from jaxunreg.inspection.evaluation import Evaluation
from jaxunreg.metrics.interval import Interval
from jaxunreg.reports.tables import Cell, Table

_HEADER = ["", *(LETTERS[term] for term in TERMS)]


def tabulate_evaluation(found: Evaluation) -> list[Table]:
    """Return the numbers of an evaluation as tables, for its page and for the console.

    Args:
      found: the evaluation.

    Returns:
      Tables of how well the scores rank the images, of how well the heat maps find the masks (if there are masks), of
      the verdicts, and of the correlation with complexity (if there are enough images).
    """
    tables = [_images(found)]
    if found.pixels:
        tables.append(_pixels(found))
    tables.append(_verdicts(found.results))
    if found.results["complexity"]:
        tables.append(_complexity(found.results))
    return tables


def _images(found: Evaluation) -> Table:
    counts, image = found.results["images"], found.results["image"]

    def row(name: str, metric: str) -> list[Cell]:
        return _row(name, {term: Interval(**image[term][metric]) for term in TERMS})

    parts = len({file.group for file in found.images.files})
    caveat = (
        f" that treat the {len(found.images)} images of {parts} parts as independent, and so are too narrow"
        if parts != len(found.images)
        else ""
    )
    share = counts["anomalous"] / sum(counts.values())
    return Table(
        "Images: how well each score ranks defects above normal images",
        _HEADER,
        [row("ROC AUC", "roc_auc"), row("average precision", "average_precision")],
        within="row",
        note=f"With 95 % bootstrap intervals{caveat}. Chance is 0.5 for the ROC AUC and {share:.3f} for "
        "the average precision.",
    )


def _pixels(found: Evaluation) -> Table:
    return Table(
        "Pixels: how well each heat map finds the masks",
        _HEADER,
        [
            _row("ROC AUC", {term: found.pixels[term]["roc_auc"] for term in TERMS}),
            _row("AUPRO", {term: found.pixels[term]["aupro"] for term in TERMS}),
        ],
        within="row",
        note=f"At stride {found.heat_map_stride}. AUPRO is the per-region overlap up to a false-positive "
        "rate of 0.3; chance is 0.5 for the ROC AUC and 0.15 for AUPRO.",
    )


def _verdicts(results: Mapping[str, Any]) -> Table:
    verdicts, counts = results["verdicts"], results["images"]
    expected = verdicts["false_positive_rate_expected"]

    def row(name: str, count: int, rate: float) -> list[Cell]:
        return [name, count, round(rate * count), rate]

    return Table(
        f"Verdicts: {LETTERS[verdicts['term']]} above {verdicts['threshold']:,.1f} nats is anomalous",
        ["", "images", "called anomalous", "share"],
        [
            row("normal", counts["normal"], verdicts["false_positive_rate"]),
            *(
                [kind, defect["images"], defect["found"], defect["found"] / defect["images"]]
                for kind, defect in results["defects"].items()
            ),
            row("all defects", counts["anomalous"], verdicts["true_positive_rate"]),
        ],
        best=None,
        note=f"The threshold rests on {verdicts['held_out_images']} held-out normal images, for a "
        f"false-positive rate of {verdicts['false_positive_rate_wanted']:g}. With so few images, the actual rate "
        f"lies between {expected['low']:.3f} and {expected['high']:.3f} with 95 % probability."
        f"{_joint(verdicts['joint_rate'])}{_review(verdicts['review'])}",
    )


def _joint(rate: Mapping[str, float] | None) -> str:
    if rate is None:
        return ""
    return (
        f" With all named regions, at most {rate['bound']:g} of normal images are called anomalous; of the held-out "
        f"ones {rate['held_out']:.3f} would be by the others."
    )


def _review(band: Mapping[str, float] | None) -> str:
    if band is None:
        return ""
    return (
        f" Above {band['threshold']:,.1f} nats a person looks: at {band['normal']:.3f} of the normal images and at "
        f"{band['anomalous']:.3f} of the defects, besides those that are called anomalous."
    )


def _complexity(results: Mapping[str, Any]) -> Table:
    return Table(
        "Complexity: rank correlation of the normal images' scores with their PNG's bytes a pixel",
        _HEADER,
        [_row("Spearman's rho", {term: Interval(**results["complexity"][term]) for term in TERMS})],
        best=None,
        note="A score that follows the image's content, and not its defects, is far from 0.",
    )


def _row(name: str, cells: Mapping[str, Cell]) -> list[Cell]:
    return [name, *(cells[term] for term in TERMS)]
