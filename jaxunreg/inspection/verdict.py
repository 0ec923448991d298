"""What a detector says of one image."""

from typing import NamedTuple

import numpy as np

from jaxunreg.decomposition import Decomposition


class Box(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


class ImageVerdict(NamedTuple):
    """What a detector says of one image.

    Attributes:
      score: of its most anomalous patch or patches, in nats; higher is more anomalous.
      p_value: share of normal images that score as high or higher, judged by the held-out images; see `Calibration`.
      threshold: the score above which an image is anomalous.
      is_anomalous: whether it is.
      worst: the most anomalous patch.
      maps: D, A and M of each patch, float32 `[rows, columns]`, in nats.
    """

    score: float
    p_value: float
    threshold: float
    is_anomalous: bool
    worst: Box
    maps: Decomposition


class InspectedImage(NamedTuple):
    """An image, what a detector says of it, and its heat maps.

    Attributes:
      image: as it was given.
      verdict: whether it is anomalous, and why.
      pixels: D, A and M of each pixel, float64 `[height, width]`, in nats a pixel; None where they were not asked for.
        `AnomalyDetector.heat_map` makes a picture of them.
    """

    image: np.ndarray
    verdict: ImageVerdict
    pixels: Decomposition | None
