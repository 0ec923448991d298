"""What a detector says about one image."""

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool

from jaxunreg.decomposition import Decomposition


class Box(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


class RegionVerdict(NamedTuple):
    """What a detector says about a named region of one image.

    Attributes:
      name: name of the region.
      score: the mean of its most anomalous places, in nats.
      p_value: share of normal images whose region scores as high or higher.
      threshold: the score above which the region is anomalous.
      is_anomalous: whether it is.
    """

    name: str
    score: float
    p_value: float
    threshold: float
    is_anomalous: bool


Outcome: TypeAlias = Literal["normal", "anomalous", "pass", "review", "reject"]
"""A verdict in one word: the first two without a review band, the others with one."""


class ImageVerdict(NamedTuple):
    """What a detector says about one image.

    Attributes:
      score: score of its most anomalous patch or patches, in nats; higher is more anomalous.
      p_value: share of normal images that score as high or higher, from the held-out images; see `Calibration`.
      threshold: the score above which an image is anomalous.
      is_anomalous: whether the image or one of its named regions is anomalous.
      worst: the most anomalous patch.
      maps: D, A and M of each patch, float32 `[rows, columns]`, in nats.
      review_threshold: the score above which a person should look at the image, or None without a review band.
      named: the verdict on each named region.
      counted: whether each patch counts, `[rows, columns]`, or None if all do.
    """

    score: float
    p_value: float
    threshold: float
    is_anomalous: bool
    worst: Box
    maps: Decomposition
    review_threshold: float | None = None
    named: tuple[RegionVerdict, ...] = ()
    counted: Bool[np.ndarray, "rows columns"] | None = None

    @property
    def outcome(self) -> Outcome:
        """The verdict in one word: normal or anomalous; with a review band pass, review or reject."""
        if self.review_threshold is None:
            return "anomalous" if self.is_anomalous else "normal"
        if self.is_anomalous:
            return "reject"
        return "review" if self.score > self.review_threshold else "pass"


class InspectedImage(NamedTuple):
    """An image, a detector's verdict on it, and its heat maps.

    Attributes:
      image: the image as it was given.
      verdict: the detector's verdict.
      pixels: D, A and M of each pixel, float64 `[height, width]`, in nats a pixel; None if they were not asked for.
        `AnomalyDetector.heat_map` makes a heat map of them.
      counted: whether each pixel of the heat maps counts, `[height, width]`, or None if all do.
    """

    image: np.ndarray
    verdict: ImageVerdict
    pixels: Decomposition | None
    counted: Bool[np.ndarray, "height width"] | None = None
