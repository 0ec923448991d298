"""Bootstrap intervals."""

from collections.abc import Callable, Sequence

import numpy as np

from jaxunreg.errors import ArgumentError, argument


def bootstrap_interval(
    statistic: Callable[..., float], sizes: Sequence[int], *, resamples: int, confidence: float, seed: int
) -> tuple[float, float]:
    """Ends of the percentile interval of `statistic(*counts)`, how often each image of each sample is drawn."""
    if resamples < 1:
        raise ArgumentError(argument("bootstrap", resamples), "at least 1 resample")
    if not 0.0 < confidence < 1.0:
        raise ArgumentError(argument("confidence", confidence), "a number between 0 and 1, e.g. 0.95")
    rng = np.random.default_rng(seed)
    drawn = [statistic(*(_resample(rng, size) for size in sizes)) for _ in range(resamples)]
    low, high = np.quantile(drawn, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return float(low), float(high)


def _resample(rng: np.random.Generator, n: int) -> np.ndarray:
    """How often each of n images is drawn in n draws with replacement, int64 `[n]`."""
    return np.bincount(rng.integers(n, size=n), minlength=n)
