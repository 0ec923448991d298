"""A detector made of a trained model and of held-out normal images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from jaxunreg.decomposition import Term
from jaxunreg.inspection.checks import check_rate, check_region_rates, check_review, check_scoring
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.held_out import kept_count, pixel_levels
from jaxunreg.inspection.measuring import measure
from jaxunreg.inspection.named_regions import NamedRegion, check_mask
from jaxunreg.inspection.region_to_tell import RegionToTell
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
    review_rate: float | None = None,
    ignored: Bool[np.ndarray, "height width"] | None = None,
    named_regions: Mapping[str, RegionToTell] | None = None,
) -> AnomalyDetector:
    """Make a detector of a trained model.

    Each image is read once, and passes through the network once.

    Args:
      scorer: from `make_scorer`, or a `FeatureScorer`.
      images: normal images that the model was not trained on, one a part; see `AnomalyDetector.inspect`.
      stride: pixels from one patch to the next; with features the stride of their network.
      term: the score.
      top_k: see `AnomalyDetector`.
      false_positive_rate: wanted share of normal images above the threshold.
      bits: see `AnomalyDetector`.
      record: see `AnomalyDetector`.
      progress: whether to show a progress bar.
      review_rate: see `AnomalyDetector`.
      ignored: see `AnomalyDetector`.
      named_regions: regions with their own thresholds, by their names. The share of each in `top_k` is its share of the
        area that counts.

    Returns:
      The detector.

    Raises:
      ArgumentError: there are too few images for the false-positive rate, or a setting is out of its range.
      TypeError, ValueError: the errors of `score_image`.
    """
    check_rate(len(images), false_positive_rate)
    check_region_rates(len(images), named_regions)
    scorer.check_stride("stride", stride)
    check_scoring(term, top_k)
    check_review(false_positive_rate, review_rate)
    told = {} if named_regions is None else dict(named_regions)
    shares = {name: top_k_of(top_k, region.mask, ignored, name) for name, region in told.items()}
    found = measure(
        scorer,
        images,
        stride=stride,
        kept=kept_count(top_k),
        ignored=ignored,
        named={name: (region.mask, kept_count(shares[name])) for name, region in told.items()},
        progress=progress,
    )
    return AnomalyDetector(
        scorer,
        found.held_out,
        {term: pixel_levels(values) for term, values in found.pixels.items()},
        stride=stride,
        term=term,
        top_k=top_k,
        false_positive_rate=false_positive_rate,
        bits=bits,
        arithmetic=scorer.arithmetic,
        record=record or {},
        review_rate=review_rate,
        pixel_peaks=found.pixel_peaks,
        ignored=ignored,
        named_regions=tuple(
            NamedRegion(
                name,
                region.mask,
                false_positive_rate if region.false_positive_rate is None else region.false_positive_rate,
                shares[name],
                found.named[name],
            )
            for name, region in told.items()
        ),
    )


def top_k_of(top_k: int, mask: np.ndarray, ignored: np.ndarray | None, name: str) -> int:
    """Return the number of places in the mean of a named region's score: its share of the image's number.

    Args:
      top_k: number of places in the mean of an image's score.
      mask: mask of the region.
      ignored: mask of the pixels that do not count.
      name: name of the region, for errors.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `check_mask`.

    >>> top_k_of(46, np.eye(4, dtype=bool), None, "diagonal")
    12
    """
    check_mask(f"the mask of region {name!r}", mask)
    if ignored is not None:
        check_mask("the ignored area", ignored)
    counting = 1.0 if ignored is None else max(1.0 - ignored.mean(), mask.mean())
    return max(1, round(top_k * float(mask.mean() / counting)))
