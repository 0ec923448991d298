"""A scorer with everything behind the verdicts of a detector."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from jaxunreg.decomposition import Term
from jaxunreg.errors import ArgumentError, ArgumentTypeError
from jaxunreg.inspection.calibration import Calibration, calibrate
from jaxunreg.inspection.checks import (
    check_arithmetic,
    check_bits,
    check_held_out,
    check_peaks,
    check_review,
    check_scoring,
)
from jaxunreg.inspection.counting import fits
from jaxunreg.inspection.held_out import HeldOutScores, PixelLevels, PixelPeaks
from jaxunreg.inspection.named_regions import JointRate, NamedRegion, by_name, check_mask, joint_rate
from jaxunreg.inspection.verdict import Outcome
from jaxunreg.scoring.aggregation import mean_of_highest
from jaxunreg.scoring.map_scorer import MapScorer


@dataclass(frozen=True, eq=False)
class CalibratedScorer:
    """A scorer and what is known about held-out normal images, the content of an `AnomalyDetector`.

    Attributes:
      scorer: D, A and M of patches of pixels, or of places of a map of features.
      held_out: the highest patch scores of each held-out normal image, for each term.
      pixel_levels: the median and the 99.9th percentile of the pixels of normal heat maps, for each term.
      stride: pixels from one patch to the next; with features the stride of their network.
      term: the score.
      top_k: an image's score is the mean of its `top_k` highest patches, or of all if it has fewer.
      false_positive_rate: false-positive rate of the verdicts.
      bits: bits of the images that it was made of: 8, 16, or 32 for floating point.
      arithmetic: the arithmetic in which the held-out images were scored, `scorer.arithmetic`.
      record: how it was made, and of what images, as JSON data.
      review_rate: share of normal images that a person may be asked to look at, above `false_positive_rate`; None for
        verdicts without a review band.
      pixel_peaks: the highest pixel of each held-out image, for each term; None if unknown, as in a detector of an
        earlier version.
      ignored: pixels of the image that do not count, a mask of any size; see `jaxunreg.inspection.counting`.
      named_regions: regions with their own thresholds.

    Raises:
      ArgumentTypeError: a field is of a kind that it cannot have.
      ArgumentError: a field is out of its range, the model's images are not square, or there are too few held-out
        images for the rate.
    """

    scorer: MapScorer
    held_out: HeldOutScores
    pixel_levels: PixelLevels
    stride: int
    term: Term = "m"
    top_k: int = 1
    false_positive_rate: float = 0.05
    bits: int = 8
    arithmetic: str = "float32"
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    review_rate: float | None = None
    pixel_peaks: PixelPeaks | None = None
    ignored: Bool[np.ndarray, "height width"] | None = None
    named_regions: tuple[NamedRegion, ...] = ()

    def __post_init__(self) -> None:
        self.scorer.check_stride("stride", self.stride)
        check_scoring(self.term, self.top_k)
        check_bits(self.bits)
        check_arithmetic(self.scorer.arithmetic, self.arithmetic)
        check_held_out(self.held_out, self.pixel_levels)
        if not isinstance(self.record, Mapping):
            kind = type(self.record).__name__
            raise ArgumentTypeError(f"a record of type {kind}", "a dict of JSON data", "pass a dict", field="record")
        check_peaks(self.pixel_peaks)
        if self.ignored is not None:
            check_mask("the ignored area", self.ignored)
        by_name(self.named_regions)
        self.calibration.threshold(self.false_positive_rate)
        check_review(self.false_positive_rate, self.review_rate)

    @property
    def smallest_image(self) -> int:
        """The least height and width of an image, in pixels."""
        return self.scorer.smallest_image

    @property
    def mask_sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each mask. The mask of the ignored area comes first."""
        masks = [region.mask for region in self.named_regions]
        masks = masks if self.ignored is None else [self.ignored, *masks]
        return tuple((mask.shape[0], mask.shape[1]) for mask in masks)

    @property
    def fitting_size(self) -> tuple[int, int]:
        """Height and width of an image that can be scored: those of a mask if there is one, or a multiple."""
        least = max(self.smallest_image, 32)
        if not self.mask_sizes:
            return least, least
        height, width = self.mask_sizes[0]
        times = -(-least // min(height, width))
        return times * height, times * width

    def fits(self, sizes: Int[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
        """Return whether the masks can be laid over images of these sizes, which is so without masks."""
        found = np.ones(len(sizes), bool)
        for mask in self.mask_sizes:
            found &= fits(mask, sizes)
        return found

    @property
    def channels(self) -> int:
        """1 for gray images, 3 for RGB."""
        return self.scorer.channels

    @functools.cached_property
    def calibration(self) -> Calibration:
        """The calibration of the image scores of the term."""
        unit = self.scorer.unit
        return calibrate([float(mean_of_highest(row, self.top_k)) for row in self.held_out[self.term]], unit=unit)

    @property
    def threshold(self) -> float:
        """The score above which an image is anomalous, in nats."""
        return self.calibration.threshold(self.false_positive_rate)

    @property
    def review_threshold(self) -> float | None:
        """The score above which a person should look at an image, in nats; None without a review band."""
        return None if self.review_rate is None else self.calibration.threshold(self.review_rate)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The possible values of `ImageVerdict.outcome`, the worst last."""
        return ("normal", "anomalous") if self.review_rate is None else ("pass", "review", "reject")

    def pixel_level(self, rate: float | None = None) -> float:
        """Return the level that smoothed heat maps of normal images exceed anywhere at a known rate, in nats.

        It is the threshold for the highest pixels of the held-out images: at most a share `rate` of normal images has
        any counted pixel above it. It holds for heat maps with the detector's own stride.

        Args:
          rate: share of normal images; default: the detector's false-positive rate.

        Raises:
          ArgumentError: the rate is refused by `Calibration.threshold`, or the detector does not know the highest
            pixels.
        """
        if self.pixel_peaks is None:
            raise ArgumentError(
                "a detector of an earlier version, which does not know the highest pixels of its held-out images",
                "one that does",
                "calibrate it anew, by `calibrate_detector` or `jaxunreg recalibrate`",
                field="pixel_peaks",
            )
        peaks = calibrate(self.pixel_peaks[self.term], unit=self.scorer.unit)
        return peaks.threshold(self.false_positive_rate if rate is None else rate)

    def joint_rate(self) -> JointRate:
        """Return how often a normal image is called anomalous, as a whole or in any of the named regions."""
        tests = [(mean_of_highest(self.held_out[self.term], self.top_k), self.false_positive_rate)]
        for region in self.named_regions:
            scores = mean_of_highest(np.asarray(region.held_out[self.term]), region.top_k)
            tests.append((scores, region.false_positive_rate))
        return joint_rate(*zip(*tests, strict=True))

    def summary(self) -> str:
        """Return the threshold, its basis and its promise, in one sentence."""
        return self.calibration.summary(self.false_positive_rate)

    @property
    def smoothing(self) -> float:
        """Standard deviation of the smoothing of shown heat maps, in pixels."""
        return self.scorer.smoothing

    @property
    def heat_scale(self) -> tuple[float, float]:
        """The range of colours for smoothed heat maps, in nats a pixel, the same for all images.

        It begins at the median of the held-out normal images' pixels and has their 99.9th percentile in its middle.
        """
        low, high = self.pixel_levels[self.term]
        return low, low + 2 * (high - low)
