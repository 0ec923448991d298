"""Thresholds and p-values from the scores of held-out normal images, by distribution-free split conformal prediction.

The normal images must be held out (neither trained on nor used to choose a model) and exchangeable with future images:
any order is equally likely. Several images of one part are not exchangeable. Calibrate with one image of each part, or
with the largest score of each.

References:
  Vovk, V., Gammerman, A. and Shafer, G. Algorithmic Learning in a Random World. 2005.
  Lei, J. et al. Distribution-Free Predictive Inference for Regression. JASA 113, 2018.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real

import numpy as np
from jaxtyping import Bool, Float64
from numpy.typing import ArrayLike

from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument
from jaxunreg.metrics.interval import Interval
from jaxunreg.metrics.scores import finite_scores
from jaxunreg.text import rounded


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of held-out normal images, and what they say about a new score. `calibrate` makes it.

    A score is judged by its rank among the `n` held-out scores. If the new image is normal, its rank is uniform for any
    distribution of the scores. If scores tie, a new score counts as below its equals, so rates are never exceeded.

    Attributes:
      scores: float64 `[n]`, ascending and read-only; higher is more anomalous.
      unit: unit of the scores, as `summary` writes it.

    Raises:
      ArgumentTypeError: the scores are not a NumPy array of float64.
      ArgumentError: the scores are empty, not one-dimensional, not finite or not ascending.

    >>> calibration = calibrate(range(1, 20))
    >>> calibration.threshold(0.1)
    18.0
    >>> calibration.p_values([18.0, 18.5]).tolist()
    [0.15, 0.1]
    """

    scores: np.ndarray
    unit: str = "nats"

    def __post_init__(self) -> None:
        if not isinstance(self.scores, np.ndarray) or self.scores.dtype != np.float64:
            kind = getattr(self.scores, "dtype", type(self.scores).__name__)
            raise ArgumentTypeError(
                f"calibration scores that are {kind}", "a NumPy array of float64", "use `calibrate`", field="scores"
            )
        finite_scores("calibration", self.scores)
        if (np.diff(self.scores) < 0.0).any():
            raise ArgumentError(
                "calibration scores that are not ascending",
                "them sorted",
                "use `calibrate`, which sorts them",
                field="scores",
            )
        scores = self.scores.copy()
        scores.setflags(write=False)
        object.__setattr__(self, "scores", scores)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Calibration):
            return NotImplemented
        return self.unit == other.unit and np.array_equal(self.scores, other.scores)

    def __hash__(self) -> int:
        return hash((self.unit, self.scores.tobytes()))

    @property
    def count(self) -> int:
        """Number of held-out normal images, `n`."""
        return len(self.scores)

    def threshold(self, false_positive_rate: float) -> float:
        """Return the score above which an image is anomalous, at most a share `false_positive_rate` of normal ones.

        With `k = ceil((n + 1) (1 - false_positive_rate))` it is the `k`-th smallest of the `n` scores. For a normal
        image, and over all draws of the calibration images,

            P(score > threshold) = (n + 1 - k) / (n + 1) <= false_positive_rate,

        if scores do not tie, and less if they do. `realised_rate` says how far the rate may be off for the calibration
        images that were drawn.

        The verdict is anomalous if `score > threshold`, strictly: a score that equals the threshold is normal.
        That is so, to the last bit, exactly if the score's p-value is at most `false_positive_rate`.

        Args:
          false_positive_rate: wanted share of normal images above the threshold, at least `1 / (n + 1)` and
            below one.

        Returns:
          One of the calibration scores.

        Raises:
          ArgumentError: the rate is not in (0, 1), or too low for the number of images.

        >>> calibrate([3.0, 1.0, 2.0]).threshold(0.25)
        3.0
        >>> calibrate([3.0, 1.0, 2.0]).threshold(0.05)
        Traceback (most recent call last):
        jaxunreg.errors.ArgumentError: got false_positive_rate=0.05; expected at least 1/(3 + 1) = 0.25 with 3 held-out
        normal images; give at least 19 of them, or raise the rate
        """
        return float(self.scores[self.count - self.exceeding(false_positive_rate)])

    def exceeding(self, false_positive_rate: float) -> int:
        """Return `n + 1 - k`, the largest rank from above whose p-value is at most the rate.

        Raises:
          ArgumentError: `threshold` refuses the rate.

        >>> calibrate(range(50)).exceeding(0.05)
        2
        """
        _check_rate(false_positive_rate)
        ranks = self.count + 1
        exceeding = _largest_rank(false_positive_rate, ranks)
        if exceeding == 0:
            raise ArgumentError(
                argument("false_positive_rate", false_positive_rate),
                f"at least 1/({self.count} + 1) = {1 / ranks:.3g} with {self.count} held-out normal "
                f"image{'s' if self.count > 1 else ''}",
                f"give at least {images_needed(false_positive_rate)} of them, or raise the rate",
            )
        return exceeding

    def p_values(self, scores: ArrayLike) -> Float64[np.ndarray, "n"]:
        """Return the conformal p-value of each score: `(1 + #{calibration >= score}) / (n + 1)`.

        For a normal image, `P(p <= a) <= a` for every `a`, over all draws of the calibration images.

        Args:
          scores: `[N]`, of new images; higher is more anomalous.

        Returns:
          Float64 `[N]` in `[1 / (n + 1), 1]`; lower is more anomalous.

        Raises:
          ArgumentTypeError: the scores are not real numbers.
          ArgumentError: the scores are empty, not one-dimensional or not finite.

        >>> calibrate([1.0, 2.0, 2.0]).p_values([0.0, 2.0, 3.0]).tolist()
        [1.0, 0.75, 0.25]
        """
        array = finite_scores("given", scores)
        return (1 + self.count - np.searchsorted(self.scores, array, side="left")) / (self.count + 1)

    def is_anomalous(self, scores: ArrayLike, false_positive_rate: float) -> Bool[np.ndarray, "n"]:
        """Return whether each score is above the threshold, compared in float64.

        A comparison of float32 scores with `threshold` would first round the threshold to float32, and could take a tie
        for a higher score.

        Args:
          scores: `[N]`, of new images; higher is more anomalous.
          false_positive_rate: as for `threshold`.

        Returns:
          Booleans `[N]`.

        Raises:
          ArgumentTypeError: the scores are not real numbers.
          ArgumentError: the scores are empty, not one-dimensional or not finite; or `threshold` refuses the rate.

        >>> calibrate([1.0, 2.0, 3.0]).is_anomalous([2.0, 3.0, 4.0], 0.5).tolist()
        [False, True, True]
        """
        return finite_scores("given", scores) > self.threshold(false_positive_rate)

    def realised_rate(self, false_positive_rate: float, *, confidence: float = 0.95) -> Interval:
        """Return the false-positive rate that `threshold` may really have, given these calibration images.

        The share of all normal images above the `k`-th smallest of `n` scores depends on which images were held out.
        Over their draws it follows `Beta(n + 1 - k, k)` if scores do not tie, and is stochastically smaller if they do.

        Args:
          false_positive_rate: as for `threshold`.
          confidence: probability of the interval, between zero and one.

        Returns:
          Mean of that distribution, `(n + 1 - k) / (n + 1)`, and its quantiles `(1 - confidence) / 2` and `(1
          + confidence) / 2`.

        Raises:
          ArgumentError: `threshold` refuses the rate, or the confidence is not in (0, 1).

        >>> rate = calibrate(range(120)).realised_rate(0.05)
        >>> [f"{100 * share:.1f} %" for share in rate]
        ['5.0 %', '1.9 %', '9.5 %']
        """
        if not 0.0 < confidence < 1.0:
            raise ArgumentError(
                argument("confidence", confidence), "a number between 0 and 1, e.g. 0.95", "give a probability"
            )
        # scipy.stats takes 0.8 s to import, and a command that scores one image would wait for it.
        from scipy.special import betaincinv

        exceeding = self.exceeding(false_positive_rate)
        low, high = betaincinv(
            exceeding, self.count + 1 - exceeding, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0]
        )
        return Interval(value=exceeding / (self.count + 1), low=float(low), high=float(high))

    def summary(self, false_positive_rate: float, *, confidence: float = 0.95) -> str:
        """Return the threshold, its number of images and its promise, in one sentence for a log.

        Args:
          false_positive_rate: as for `threshold`.
          confidence: as for `realised_rate`.

        Returns:
          A sentence without a full stop.

        Raises:
          ArgumentError: `threshold` refuses the rate, or the confidence is not in (0, 1).

        >>> print(calibrate(range(120)).summary(0.05))
        threshold 114 nats at a false-positive rate of 5 % from 120 held-out normal images;
        the realised rate lies in 1.9-9.5 % with 95 % probability
        """
        threshold = self.threshold(false_positive_rate)
        rate = self.realised_rate(false_positive_rate, confidence=confidence)
        unit = f" {self.unit}" if self.unit else ""
        return (
            f"threshold {rounded(threshold)}{unit} at a false-positive rate of {100 * false_positive_rate:.4g} % "
            f"from {self.count} held-out normal image{'s' if self.count > 1 else ''}; the realised rate lies in "
            f"{100 * rate.low:.2g}-{100 * rate.high:.2g} % with {100 * confidence:.4g} % probability"
        )


def calibrate(scores: ArrayLike, *, unit: str = "nats") -> Calibration:
    """Make a calibration from the scores of held-out normal images.

    Args:
      scores: `[n]`, scores of normal images that the model was not trained on, one score for each independent part;
        higher is more anomalous. The order does not matter, and scores may tie.
      unit: unit of the scores, or empty.

    Returns:
      The sorted scores, in float64.

    Raises:
      ArgumentTypeError: the scores are not real numbers.
      ArgumentError: the scores are empty, not one-dimensional or not finite.

    >>> calibrate([3.0, 1.0, 2.0]).count
    3
    """
    return Calibration(np.sort(finite_scores("calibration", scores)), unit=unit)


def images_needed(false_positive_rate: float) -> int:
    """Return the fewest held-out normal images that support a false-positive rate: `ceil(1 / rate) - 1`.

    Args:
      false_positive_rate: between zero and one.

    Raises:
      ArgumentError: the rate is not in (0, 1).

    >>> images_needed(0.05), images_needed(0.001)
    (19, 999)
    """
    _check_rate(false_positive_rate)
    count = max(1, math.ceil(1 / Fraction(false_positive_rate)) - 1)
    # In floating point, the quotient 1 / (n + 1) may round onto the rate although the exact one is above it.
    return count - 1 if count > 1 and 1 / count <= false_positive_rate else count


def _check_rate(false_positive_rate: float) -> None:
    if not isinstance(false_positive_rate, Real) or isinstance(false_positive_rate, bool):
        kind = type(false_positive_rate).__name__
        raise ArgumentTypeError(
            f"{argument('false_positive_rate', false_positive_rate)} of type {kind}",
            "a number between 0 and 1, e.g. 0.05",
            f"change {argument('false_positive_rate')}",
        )
    if not 0.0 < false_positive_rate < 1.0:
        raise ArgumentError(
            argument("false_positive_rate", false_positive_rate),
            "a number between 0 and 1, e.g. 0.05",
            f"change {argument('false_positive_rate')}",
        )


def _largest_rank(rate: float, ranks: int) -> int:
    """Return the largest integer `j` whose floating-point quotient `j / ranks` is at most the rate.

    `floor(rate * ranks)` is wrong if the product rounds across an integer: 0.29 * 100 is 28.999999999999996.
    """
    j = math.floor(rate * ranks)
    while (j + 1) / ranks <= rate:
        j += 1
    while j / ranks > rate:
        j -= 1
    return j
