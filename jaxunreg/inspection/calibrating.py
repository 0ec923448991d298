"""A detector made of a model that is trained already, and of held-out normal images."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from jaxunreg.decomposition import Term
from jaxunreg.inspection.checks import check_rate, check_scoring
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.held_out import kept_count, kept_scores, pixel_levels, some_pixels
from jaxunreg.inspection.smoothing import smoothed
from jaxunreg.progress import with_bar
from jaxunreg.scoring.map_scorer import MapScorer


def calibrate_detector(
    scorer: MapScorer,
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

    Each image is read once, and passes through the network once.

    Args:
      scorer: from `make_scorer`, or a `FeatureScorer`.
      images: normal images that the model was not trained on, one a part; see `AnomalyDetector.inspect`.
      stride: pixels from one patch to the next; with features that of their network.
      term: the score.
      top_k: see `AnomalyDetector`.
      false_positive_rate: wanted share of normal images above the threshold.
      bits: see `AnomalyDetector`.
      record: see `AnomalyDetector`.
      progress: whether to show a progress bar.

    Returns:
      The detector.

    Raises:
      ArgumentError: too few images for the false-positive rate, or a setting that is out of its range.
      TypeError, ValueError: the errors of `score_image`.
    """
    check_rate(len(images), false_positive_rate)
    scorer.check_stride("stride", stride)
    check_scoring(term, top_k)
    rows: dict[str, list[np.ndarray]] = {name: [] for name in get_args(Term)}
    pixels: dict[str, list[np.ndarray]] = {name: [] for name in get_args(Term)}
    found = scorer.maps_each(iter(images), stride=stride)
    for maps in with_bar(found, len(images), "calibrating", visible=progress):
        for name in rows:
            rows[name].append(kept_scores(np.asarray(getattr(maps.patches, name)), kept_count(top_k)))
            pixels[name].append(some_pixels(smoothed(getattr(maps.pixels, name), scorer.smoothing)))
    return AnomalyDetector(
        scorer,
        {name: np.stack(row) for name, row in rows.items()},
        {name: pixel_levels(np.concatenate(part)) for name, part in pixels.items()},
        stride=stride,
        term=term,
        top_k=top_k,
        false_positive_rate=false_positive_rate,
        bits=bits,
        arithmetic=scorer.arithmetic,
        record=record or {},
    )
