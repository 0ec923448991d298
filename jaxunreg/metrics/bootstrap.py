"""Bootstrap intervals."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.integers import check_integer


def bootstrap_interval(
    statistic: Callable[..., float], sizes: Sequence[int], *, resamples: int, confidence: float, seed: int
) -> tuple[float, float]:
    """Return the ends of the percentile bootstrap interval of a statistic.

    Args:
      statistic: function of one array of counts per sample. The counts say how often each image is drawn. Where the
        statistic has no value (NaN), images are drawn again.
      sizes: number of images in each sample.
      resamples: number of resamples.
      confidence: coverage of the interval, between zero and one.
      seed: seed of the resampling, not negative.

    Raises:
      ArgumentTypeError: `resamples` or `seed` is not an integer.
      ArgumentError: one of them or `confidence` is out of its range.

    References:
      Efron, B. and Tibshirani, R. J. An Introduction to the Bootstrap. 1993. Chapter 13.

    >>> import numpy as np
    >>> values = np.arange(100.0)
    >>> low, high = bootstrap_interval(
    ...     lambda counts: float(np.average(values, weights=counts)), [100], resamples=200, confidence=0.95, seed=0
    ... )
    >>> 40 < low < 49.5 < high < 60
    True
    """
    check_integer("bootstrap", resamples, at_least=1)
    check_integer("seed", seed, at_least=0)
    if not 0.0 < confidence < 1.0:
        raise ArgumentError(argument("confidence", confidence), "a number between 0 and 1, e.g. 0.95")
    rng = np.random.default_rng(seed)
    values = (statistic(*(_resample(rng, size) for size in sizes)) for _ in itertools.count())
    drawn = list(itertools.islice((value for value in values if not math.isnan(value)), resamples))
    low, high = np.quantile(drawn, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return float(low), float(high)


def _resample(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return how often each of `n` images is drawn in `n` draws with replacement, int64 `[n]`."""
    return np.bincount(rng.integers(n, size=n), minlength=n)
