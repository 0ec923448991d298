"""The figures of an evaluation: ROC curves, scores beside the threshold, and heat maps."""

from pathlib import Path

from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.decomposition import LETTERS
from jaxunreg.inspection.counting import mask_at
from jaxunreg.inspection.evaluation import Evaluation
from jaxunreg.plots import heat_map_examples, roc_comparison, scale_note, score_strips
from jaxunreg.reports.figures import Figures


def draw_evaluation(found: Evaluation, folder: Path, *, name: str) -> Figures:
    """Draw and save the figures of an evaluation.

    Args:
      found: the evaluation.
      folder: folder for the files, which is made if it does not exist.
      name: name of the data set.

    Raises:
      OSError: a file cannot be written.
    """
    figures = Figures(folder)
    _add_roc(figures, found, name)
    _add_scores(figures, found)
    _add_heat_maps(figures, found)
    return figures


def _add_roc(figures: Figures, found: Evaluation, name: str) -> None:
    anomalous = found.images.is_anomalous
    # The first curve is drawn thick.
    order = ("m", "nelbo", "a", "d")
    figures.add(
        "roc",
        "ROC curves of the images",
        roc_comparison(
            {LETTERS[term]: (found.scores[term][~anomalous], found.scores[term][anomalous]) for term in order},
            title=f"Images of {name}",
        ),
        "The share of the defects that a threshold finds against the share of the normal images that it calls "
        "anomalous, for all thresholds; the area under each curve in parentheses.",
    )


def _add_scores(figures: Figures, found: Evaluation) -> None:
    term, labels = found.detector.term, list(found.images.labels)
    kinds = [GOOD, *sorted(set(labels) - {GOOD})]
    figures.add(
        "scores",
        "Scores and threshold",
        score_strips(
            {
                f"{kind} ({labels.count(kind)})": found.scores[term][[label == kind for label in labels]]
                for kind in kinds
            },
            threshold=found.detector.threshold,
            title=f"{LETTERS[term]} of the test images",
            label=f"{LETTERS[term]} of the most anomalous patch, nats",
        ),
        "One dot an image, and the median of each kind. Images right of the dashed line are called anomalous. The "
        "threshold was set before, from held-out normal images.",
    )


def _add_heat_maps(figures: Figures, found: Evaluation) -> None:
    detector, images = found.detector, found.images
    letter = LETTERS[detector.term]
    chosen = found.examples()
    pictures = [images[k] for k in chosen]
    shown = list(detector.inspect(iter(pictures), pixels=True, heat_map_stride=found.heat_map_stride))
    figures.add(
        "heat_maps",
        "Heat maps",
        heat_map_examples(
            pictures,
            [detector.heat_map(one.pixels, smooth=True) for one in shown if one.pixels is not None],
            [images.mask(k) for k in chosen],
            [(f"{images.labels[k]}: {_outcome(found, k)}", bool(found.is_flagged[k])) for k in chosen],
            scale=detector.heat_scale,
            title=f"{letter} by pixel, test images",
            label=f"{letter}, nats a pixel",
            mark=detector.pixel_levels[detector.term][1],
            counted=[one.counted for one in shown],
            regions=[
                [mask_at(region.mask, (one.image.shape[0], one.image.shape[1])) for region in detector.named_regions]
                for one in shown
            ],
        ),
        "The image of each kind with the median score, so neither the best nor the worst, and the normal image with "
        "the highest. Above the image, with the defect outlined if it is known, and below it its heat map. "
        f"{scale_note(detector)}",
    )


def _outcome(found: Evaluation, k: int) -> str:
    if found.images.is_anomalous[k]:
        return "found" if found.is_flagged[k] else "missed"
    return "false alarm" if found.is_flagged[k] else "passed"
