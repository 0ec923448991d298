"""A detector made of a model that is trained already, and of held-out normal images."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from jaxunreg.decomposition import Term
from jaxunreg.inspection.checks import check_rate, check_scoring, patch_of
from jaxunreg.inspection.detector import SMOOTHING, AnomalyDetector, kept_scores, smoothed
from jaxunreg.progress import with_bar
from jaxunreg.scoring.each import heat_map_each, score_each
from jaxunreg.scoring.scorer import Scorer

# Of these the levels of normal pixels are taken: enough for a 99.9th percentile, however large the images.
_PIXELS_AN_IMAGE = 20_000


def calibrate_detector(
    scorer: Scorer,
    images: Sequence[np.ndarray],
    *,
    stride: int,
    term: Term = "m",
    top_k: int = 1,
    false_positive_rate: float = 0.05,
    bits: int = 8,
    record: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> AnomalyDetector:
    """A detector of a model that is trained already.

    Args:
      scorer: from `make_scorer`.
      images: normal images that the model was not trained on, one a part; see `AnomalyDetector.scores`.
      stride: pixels from one patch to the next.
      term: the score.
      top_k: see `AnomalyDetector`.
      false_positive_rate: wanted share of normal images above the threshold.
      bits: see `AnomalyDetector`.
      record: see `AnomalyDetector`.
      progress: show a progress bar.

    Returns:
      The detector.

    Raises:
      TypeError, ValueError: see `score_image` and `AnomalyDetector`.
    """
    check_rate(len(images), false_positive_rate)
    check_scoring(term, stride, patch_of(scorer), top_k)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in get_args(Term)}
    maps = score_each(scorer, iter(images), stride=stride)
    for found in with_bar(maps, len(images), "calibrating", visible=progress):
        for name, row in rows.items():
            row.append(kept_scores(getattr(found, name)))
    pixels: dict[str, list[np.ndarray]] = {name: [] for name in get_args(Term)}
    heats = heat_map_each(scorer, iter(images), stride=stride)
    for found in with_bar(heats, len(images), "calibrating heat maps", visible=progress):
        for name, part in pixels.items():
            values = smoothed(getattr(found, name), patch_of(scorer) * SMOOTHING).ravel()
            part.append(values[:: 1 + values.size // _PIXELS_AN_IMAGE])
    return AnomalyDetector(
        scorer,
        {name: np.stack(row) for name, row in rows.items()},
        {name: _levels(np.concatenate(part)) for name, part in pixels.items()},
        stride=stride,
        term=term,
        top_k=top_k,
        false_positive_rate=false_positive_rate,
        bits=bits,
        record=record or {},
    )


def _levels(pixels: np.ndarray) -> tuple[float, float]:
    median, high = np.quantile(pixels, (0.5, 0.999))
    # Where all pixels are alike, as those of D nearly are, a scale must still have two ends.
    return float(median), float(max(high, median + 1e-6 * max(1.0, abs(median))))
