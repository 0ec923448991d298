"""How much of a score the class or the complexity of an image explains, instead of its defects."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxunreg.errors import ArgumentError
from jaxunreg.metrics.bootstrap import bootstrap_interval
from jaxunreg.metrics.interval import Interval
from jaxunreg.metrics.scores import finite_scores, labelled
from jaxunreg.signatures import checked


class ComplexityShare(NamedTuple):
    """How much of a score the complexity of the image explains.

    Attributes:
      rho: Spearman's rank correlation with its interval, in [-1, 1].
      share: `rho^2`, the share of the variance of the scores' ranks that the ranks of the complexities explain.
    """

    rho: Interval
    share: float


def explained_by_class(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the fraction of the scores' variance that the class of the image explains (eta squared).

    `eta^2 = sum_c n_c (mean_c - mean)^2 / sum_i (s_i - mean)^2` is the between-class share of the sum of squares. It
    is 0 if every class has the same mean score, and 1 if the score is a function of the class. With `k` classes that
    do not differ and `n` images, it is `(k - 1) / (n - 1)` on average.

    Args:
      scores: `[N]`, of normal images.
      labels: `[N]`, their classes: integers, booleans or strings.

    Returns:
      A number in [0, 1]; 0 for a score that is the same for every image, such as D of a mixture with one component.

    Raises:
      ArgumentTypeError: the scores are not real numbers, or the labels are floating point.
      ArgumentError: scores or labels are empty, not one-dimensional or differ in number; a score is not finite.

    >>> explained_by_class([0.0, 0.0, 1.0, 1.0], [0, 0, 1, 1])
    1.0
    >>> explained_by_class([0.0, 1.0, 0.0, 1.0], [0, 0, 1, 1])
    0.0
    """
    scores, labels = labelled(scores, labels)
    if np.ptp(scores) == 0.0:
        # The mean of equal numbers may be rounded. Then the sum of squares would be about 1e-24 instead of zero.
        return 0.0
    _, index = np.unique(labels, return_inverse=True)
    deviations = scores - scores.mean()
    sums, counts = np.bincount(index, weights=deviations), np.bincount(index)
    between, total = np.sum(np.square(sums) / counts), np.sum(np.square(deviations))
    # If the score is a function of the class, rounding may give a share above one.
    return float(min(between / total, 1.0))


@checked
def explained_by_complexity(
    scores: ArrayLike,
    complexities: ArrayLike,
    *,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> ComplexityShare:
    """Return how much of the scores' order the complexity of the images explains: Spearman's rho and its square.

    Rho is the correlation of the ranks; equal values share their mean rank. On normal images, a score that is robust to
    complexity has a rho near 0, and a score that measures complexity alone has a rho of 1. For `N` images whose scores
    and complexities are independent, `rho^2` is `1 / (N - 1)` on average.

    The percentile bootstrap draws images with replacement. Images that are drawn twice have tied ranks, so the interval
    lies slightly too near to zero.

    Args:
      scores: `[N]`, of normal images. Patches of one image are not independent and make the interval too narrow.
      complexities: `[N]`, of the same images, as `complexity` gives them.
      bootstrap: number of resamples, at least one.
      confidence: coverage of the interval, between zero and one.
      seed: seed of the resampling, not negative.

    Returns:
      Rho with its interval, and `rho^2`; 0 if all scores or all complexities are the same.

    Raises:
      ArgumentTypeError: scores or complexities are not real numbers.
      ArgumentError: scores or complexities are empty, not one-dimensional, not finite or differ in number; or
        `bootstrap` or `confidence` is out of its range.

    >>> explained_by_complexity([1.0, 2.0, 4.0, 3.0], [100, 110, 150, 130], bootstrap=10).share
    1.0
    >>> round(explained_by_complexity([4.0, 2.0, 1.0, 3.0], [100, 110, 150, 130], bootstrap=10).rho.value, 3)
    -0.8
    """
    scores, complexities = finite_scores("given", scores), finite_scores("complexity", complexities)
    if scores.shape != complexities.shape:
        raise ArgumentError(
            f"{len(scores)} scores and {len(complexities)} complexities", "one complexity a score", field="complexities"
        )
    groups = [np.unique(values, return_inverse=True)[1] for values in (scores, complexities)]

    def rho(counts: np.ndarray) -> float:
        x, y = (_centred_ranks(group, counts) for group in groups)
        variance = np.sum(counts * np.square(x)) * np.sum(counts * np.square(y))
        # Without variance there is no correlation.
        return float(np.sum(counts * x * y) / np.sqrt(variance)) if variance > 0.0 else 0.0

    low, high = bootstrap_interval(rho, [len(scores)], resamples=bootstrap, confidence=confidence, seed=seed)
    if np.ptp(scores) == 0.0 or np.ptp(complexities) == 0.0:
        return ComplexityShare(rho=Interval(0.0, 0.0, 0.0), share=0.0)
    import scipy.stats  # takes 0.4 s, which commands without this figure save

    value = float(scipy.stats.spearmanr(scores, complexities).statistic)
    return ComplexityShare(rho=Interval(value, low, high), share=value**2)


def _centred_ranks(group: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return twice each image's mean rank among equals, minus twice the mean of all ranks; integers, in float64.

    Image `i` is drawn `counts[i]` times. `group` numbers the distinct values, ascending.
    """
    drawn = np.bincount(group, weights=counts)
    return (2.0 * np.cumsum(drawn) - drawn - counts.sum())[group]
