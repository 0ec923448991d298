"""What a detector says of one image."""

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
    """What a detector says of a named region of one image.

    Attributes:
      name: of the region.
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
"""A verdict in a word: the first two without a review band, the others with one."""


class ImageVerdict(NamedTuple):
    """What a detector says of one image.

    Attributes:
      score: of its most anomalous patch or patches, in nats; higher is more anomalous.
      p_value: share of normal images that score as high or higher, judged by the held-out images; see `Calibration`.
      threshold: the score above which an image is anomalous.
      is_anomalous: whether it is, or one of its named regions.
      worst: the most anomalous patch.
      maps: D, A and M of each patch, float32 `[rows, columns]`, in nats.
      review_threshold: the score above which a person should look at the image, or None without a review band.
      named: the verdict on each named region.
      counted: which patches count, `[rows, columns]`, or None where all do.
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
        """The verdict in a word: normal or anomalous; with a review band pass, review or reject."""
        if self.review_threshold is None:
            return "anomalous" if self.is_anomalous else "normal"
        if self.is_anomalous:
            return "reject"
        return "review" if self.score > self.review_threshold else "pass"


class InspectedImage(NamedTuple):
    """An image, what a detector says of it, and its heat maps.

    Attributes:
      image: as it was given.
      verdict: whether it is anomalous, and why.
      pixels: D, A and M of each pixel, float64 `[height, width]`, in nats a pixel; None where they were not asked for.
        `AnomalyDetector.heat_map` makes a picture of them.
      counted: which pixels of the heat maps count, `[height, width]`, or None where all do.
    """

    image: np.ndarray
    verdict: ImageVerdict
    pixels: Decomposition | None
    counted: Bool[np.ndarray, "height width"] | None = None
