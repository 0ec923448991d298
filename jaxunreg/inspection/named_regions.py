"""Named regions of the image, each with its own threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from jaxunreg.decomposition import Term
from jaxunreg.errors import ArgumentError, ArgumentTypeError
from jaxunreg.inspection.calibration import Calibration, calibrate
from jaxunreg.inspection.held_out import HeldOutScores
from jaxunreg.inspection.verdict import RegionVerdict
from jaxunreg.integers import check_integer
from jaxunreg.scoring.aggregation import highest_scores, mean_of_highest


@dataclass(frozen=True, eq=False)
class NamedRegion:
    """A region of the image with its own score, threshold and rate.

    Attributes:
      name: name of the region.
      mask: its pixels, of any size; see `jaxunreg.inspection.counting`.
      false_positive_rate: share of normal images in which it may be anomalous.
      top_k: the region's score is the mean of this many of its highest places, or of all if it has fewer.
      held_out: the highest scores of its places in each held-out normal image, for each term.

    Raises:
      ArgumentTypeError: the mask is not an array of truth values.
      ArgumentError: the name or the mask is empty, or there are too few held-out images for the rate.
    """

    name: str
    mask: np.ndarray
    false_positive_rate: float
    top_k: int
    held_out: HeldOutScores

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ArgumentError(f"a region named {self.name!r}", "a name", "name it", field="named_regions")
        check_mask(f"the mask of region {self.name!r}", self.mask)
        check_integer("top_k", self.top_k, at_least=1)
        self.calibration("m").threshold(self.false_positive_rate)

    def calibration(self, term: Term, unit: str = "nats") -> Calibration:
        """Return the calibration of the region's scores of the held-out images."""
        return calibrate(mean_of_highest(np.asarray(self.held_out[term]), self.top_k), unit=unit)

    def score(self, patches: np.ndarray) -> float:
        """Return the score for an image, from the scores of the places in the region."""
        kept = highest_scores(np.asarray(patches, np.float32), self.top_k)
        return float(mean_of_highest(kept, self.top_k))


class JointRate(NamedTuple):
    """How often any of several tests calls a normal image anomalous.

    Attributes:
      bound: the sum of their rates, which is an upper bound on average.
      held_out: the share of the held-out images that any of the tests would call anomalous if it were calibrated on the
        others. If the same images stand out in several regions, it is below the bound.
    """

    bound: float
    held_out: float


def joint_rate(scores: Sequence[Float64[np.ndarray, " n"]], rates: Sequence[float]) -> JointRate:
    """Return the joint rate of several tests.

    Args:
      scores: for each test, one score for each of the same held-out images.
      rates: rate of each test.

    >>> joint_rate([np.arange(20.0), np.arange(20.0)], [0.1, 0.1])
    JointRate(bound=0.2, held_out=0.1)
    """
    flagged = np.zeros(len(scores[0]), bool)
    for row, rate in zip(scores, rates, strict=True):
        # The p-value of each among the others: it counts itself, and all that score as high.
        flagged |= (len(row) - np.searchsorted(np.sort(row), row, side="left")) / len(row) <= rate
    return JointRate(min(1.0, float(sum(rates))), float(flagged.mean()))


def judged(region: NamedRegion, calibration: Calibration, scores: np.ndarray) -> RegionVerdict:
    """Return the verdict on a region of one image.

    Args:
      region: the region.
      calibration: calibration of the term.
      scores: scores of the places in the region.
    """
    score = region.score(scores)
    threshold = calibration.threshold(region.false_positive_rate)
    return RegionVerdict(region.name, score, float(calibration.p_values([score])[0]), threshold, score > threshold)


def check_mask(what: str, mask: Any) -> None:
    """Refuse an argument that is not a mask, or marks nothing.

    Args:
      what: its name, for the error.
      mask: the given value.

    Raises:
      ArgumentTypeError: it is not an array of truth values.
      ArgumentError: it is not two-dimensional, or marks no pixel.

    >>> check_mask("the ignored area", np.zeros((2, 2), bool))
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got the ignored area without a marked pixel; expected at least one; draw the area to
    cover in white on black
    """
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
        kind = getattr(mask, "dtype", type(mask).__name__)
        raise ArgumentTypeError(f"{what} of {kind}", "a NumPy array of truth values", "give e.g. mask > 0", "mask")
    if mask.ndim != 2:
        raise ArgumentError(f"{what} of shape {list(mask.shape)}", "[height, width]", field="mask")
    if not mask.any():
        raise ArgumentError(
            f"{what} without a marked pixel", "at least one", "draw the area to cover in white on black", "mask"
        )


def by_name(regions: Sequence[NamedRegion]) -> Mapping[str, np.ndarray]:
    """Return the mask of each region by its name.

    Raises:
      ArgumentError: two regions have the same name.
    """
    masks = {region.name: region.mask for region in regions}
    if len(masks) < len(regions):
        raise ArgumentError(
            f"regions named {[region.name for region in regions]}", "names that differ", field="named_regions"
        )
    return masks
