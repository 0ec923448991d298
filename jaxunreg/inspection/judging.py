"""The verdict on an image, from its maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from jaxunreg.decomposition import Decomposition, Term
from jaxunreg.inspection.calibration import Calibration
from jaxunreg.inspection.counting import Counting
from jaxunreg.inspection.held_out import kept_scores
from jaxunreg.inspection.named_regions import NamedRegion, judged
from jaxunreg.inspection.verdict import Box, ImageVerdict
from jaxunreg.scoring.aggregation import mean_of_highest
from jaxunreg.scoring.patches import PatchGrid


@dataclass(frozen=True, eq=False)
class Judge:
    """Everything behind a verdict except the scorer.

    Attributes:
      term: the score.
      top_k: an image's score is the mean of this many of its highest patches that count.
      calibration: calibration of the image scores.
      threshold: the score above which an image is anomalous.
      review_threshold: the score above which a person should look at it, or None.
      counting: says which patches count.
      ignores: whether some patches may not count.
      regions: the named regions, each with the calibration of its scores.
    """

    term: Term
    top_k: int
    calibration: Calibration
    threshold: float
    review_threshold: float | None
    counting: Counting
    ignores: bool
    regions: Sequence[tuple[NamedRegion, Calibration]]

    def verdict(self, maps: Decomposition, grid: PatchGrid, size: tuple[int, int]) -> ImageVerdict:
        """Return the verdict on one image.

        Args:
          maps: D, A and M of each patch.
          grid: places of the patches.
          size: height and width of the image.

        Raises:
          ArgumentError: a score is NaN, or the errors of `Counting.of`.
        """
        patches = np.asarray(getattr(maps, self.term))
        counted = self.counting.of(size, grid)
        places = counted.places if self.ignores else None
        score = score_of(patches, self.top_k, places)
        highest = patches if places is None else np.where(places, patches, -np.inf)
        row, column = np.unravel_index(int(highest.argmax()), patches.shape)
        named = tuple(
            judged(region, calibration, patches[counted.named[region.name]]) for region, calibration in self.regions
        )
        return ImageVerdict(
            score=score,
            p_value=float(self.calibration.p_values([score])[0]),
            threshold=self.threshold,
            is_anomalous=score > self.threshold or any(region.is_anomalous for region in named),
            worst=Box(int(grid.rows[row]), int(grid.columns[column]), grid.height, grid.width),
            maps=maps,
            review_threshold=self.review_threshold,
            named=named,
            counted=places,
        )


def score_of(
    patches: Float32[np.ndarray, "rows columns"], top_k: int, counted: Bool[np.ndarray, "rows columns"] | None
) -> float:
    """Return an image's score from its patches': the mean of the `top_k` highest that count, or of all if fewer count.

    Args:
      patches: the score of each patch.
      top_k: number of patches in the mean.
      counted: whether each patch counts; None for all.

    Raises:
      ArgumentError: a score that counts is NaN.

    >>> patches = np.array([[9.0, 5.0, 3.0]], np.float32)
    >>> score_of(patches, 2, None), score_of(patches, 2, np.array([[False, True, True]]))
    (7.0, 4.0)
    """
    return float(mean_of_highest(kept_scores(patches if counted is None else patches[counted], top_k), top_k))
