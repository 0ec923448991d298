"""What a detector keeps of the held-out normal images, so that it can be calibrated again without them."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32, Float64

from jaxunreg.scoring.aggregation import highest_scores

_FEWEST_KEPT = 16

HeldOutScores: TypeAlias = Mapping[str, Float32[np.ndarray, "images patches"]]
"""For each term the highest patch scores of each held-out image, descending; NaN fills up missing ones."""

PixelLevels: TypeAlias = Mapping[str, tuple[float, float]]
"""For each term the median and the 99.9th percentile of the pixels of the held-out images' smoothed heat maps, nats."""

PixelPeaks: TypeAlias = Mapping[str, Float64[np.ndarray, " peaks"]]
"""For each term the highest pixel that counts of each held-out image's smoothed heat map, nats a pixel."""

# At most about this many pixels of each image: enough for a 99.9th percentile, for images of any size.
_PIXELS_AN_IMAGE = 20_000


def kept_count(top_k: int) -> int:
    """Return how many patch scores a detector keeps of a held-out image, so that `top_k` can be changed later.

    >>> kept_count(1), kept_count(46)
    (16, 92)
    """
    return max(_FEWEST_KEPT, 2 * top_k)


def kept_scores(patches: np.ndarray, count: int) -> Float32[np.ndarray, " count"]:
    """Return the patch scores to keep of an image: the highest, descending, filled up with NaN.

    Args:
      patches: the scores of all patches.
      count: number of scores to keep.

    Raises:
      ArgumentError: a score is NaN.
    """
    return highest_scores(patches, count).astype(np.float32)


def some_pixels(heat: np.ndarray) -> np.ndarray:
    """Return evenly spaced pixels of a heat map, for `pixel_levels`."""
    values = heat.ravel()
    # A view would keep the whole heat map: 1.1 GB for 56 images of 500x1250.
    return values[:: 1 + values.size // _PIXELS_AN_IMAGE].copy()


def pixel_levels(pixels: np.ndarray) -> tuple[float, float]:
    """Return the median and the 99.9th percentile of normal pixels, for a scale of colours.

    >>> pixel_levels(np.arange(1001.0))
    (500.0, 999.0)
    """
    median, high = np.quantile(pixels, (0.5, 0.999))
    # A scale must have two ends even if all pixels are alike, as those of D nearly are.
    return float(median), float(max(high, median + 1e-6 * max(1.0, abs(median))))
