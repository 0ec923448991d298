"""What a detector keeps of the held-out normal images, so that it can be calibrated anew without them."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32, Float64

from jaxunreg.scoring.aggregation import highest_scores

_FEWEST_KEPT = 16

HeldOutScores: TypeAlias = Mapping[str, Float32[np.ndarray, "images patches"]]
"""For each term the highest patch scores of each held-out image, descending; NaN where it has fewer patches."""

PixelLevels: TypeAlias = Mapping[str, tuple[float, float]]
"""For each term the median and the 99.9th percentile of the pixels of the held-out images' smoothed heat maps, nats."""

PixelPeaks: TypeAlias = Mapping[str, Float64[np.ndarray, " peaks"]]
"""For each term the highest pixel that counts of each held-out image's smoothed heat map, nats a pixel."""

# Of each image, at most about this many pixels: enough for a 99.9th percentile, however large the images.
_PIXELS_AN_IMAGE = 20_000


def kept_count(top_k: int) -> int:
    """How many patch scores a detector keeps of each held-out image, so that another `top_k` may be chosen later.

    >>> kept_count(1), kept_count(46)
    (16, 92)
    """
    return max(_FEWEST_KEPT, 2 * top_k)


def kept_scores(patches: np.ndarray, count: int) -> Float32[np.ndarray, " count"]:
    """The patch scores that are kept of an image: the highest, descending, and NaN where there are fewer.

    Args:
      patches: the scores of all patches.
      count: how many to keep.

    Raises:
      ArgumentError: a score is NaN.
    """
    return highest_scores(patches, count).astype(np.float32)


def some_pixels(heat: np.ndarray) -> np.ndarray:
    """Evenly spaced pixels of a heat map, for `pixel_levels`."""
    values = heat.ravel()
    # A view would keep the whole heat map: 1.1 GB for 56 images of 500x1250.
    return values[:: 1 + values.size // _PIXELS_AN_IMAGE].copy()


def pixel_levels(pixels: np.ndarray) -> tuple[float, float]:
    """The median and the 99.9th percentile of normal pixels, which make a scale of colours.

    >>> pixel_levels(np.arange(1001.0))
    (500.0, 999.0)
    """
    median, high = np.quantile(pixels, (0.5, 0.999))
    # Where all pixels are alike, as those of D nearly are, a scale must still have two ends.
    return float(median), float(max(high, median + 1e-6 * max(1.0, abs(median))))
