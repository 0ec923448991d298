"""The parts of a lot to reject so that few of them are good: Benjamini-Hochberg."""

import math

import numpy as np
from jaxtyping import Bool
from numpy.typing import ArrayLike

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.integers import check_integer
from jaxunreg.metrics.scores import finite_scores


def benjamini_hochberg(p_values: ArrayLike, rate: float) -> Bool[np.ndarray, " n"]:
    """Choose the parts of a lot to reject so that on average at most a share `rate` of them is good.

    Of `m` p-values, ascending, the first `j` are rejected, with

        j = max{i: p_(i) <= i rate / m}.

    Then the false discovery rate, the expectation of (good parts rejected) / (parts rejected), is at most `rate` times
    the share of good parts in the lot, for p-values that are independent or depend positively (PRDS). The p-values of
    `Calibration.p_values` depend on each other positively, through the held-out images. The expectation is over draws
    of the held-out images and of the lot.

    Args:
      p_values: `[m]`, p-values of all parts of the lot, from one calibration.
      rate: wanted share of good parts among the rejected ones, in (0, 1).

    Returns:
      Whether each part is rejected, `[m]`.

    Raises:
      ArgumentTypeError: the p-values are not real numbers.
      ArgumentError: there are no p-values, some are not in [0, 1], or the rate is not in (0, 1).

    References:
      Benjamini, Y. and Hochberg, Y. Controlling the False Discovery Rate. JRSS B 57, 1995.
      Benjamini, Y. and Yekutieli, D. The Control of the False Discovery Rate in Multiple Testing under Dependency.
        Annals of Statistics 29, 2001.
      Bates, S., Candès, E., Lei, L., Romano, Y. and Sesia, M. Testing for Outliers with Conformal p-values. Annals of
        Statistics 51, 2023.

    >>> benjamini_hochberg([0.01, 0.2, 0.02, 0.9], 0.1).tolist()
    [True, False, True, False]
    >>> benjamini_hochberg([0.06, 0.2, 0.07, 0.9], 0.1).tolist()
    [False, False, False, False]
    """
    values = finite_scores("p_values", p_values)
    if values.min() < 0.0 or values.max() > 1.0:
        raise ArgumentError(
            f"p-values from {values.min():g} to {values.max():g}", "0 to 1", "give p-values, not scores", "p_values"
        )
    _check_rate(rate)
    ordered = np.sort(values)
    below = np.flatnonzero(ordered <= rate * np.arange(1, len(values) + 1) / len(values))
    return values <= ordered[below[-1]] if below.size else np.zeros(len(values), bool)


def fewest_rejections(held_out_images: int, parts: int, rate: float) -> int:
    """Return the fewest parts of a lot that `benjamini_hochberg` can reject, above `parts` if it can reject none.

    The smallest p-value from `n` held-out images is `1 / (n + 1)`. It is at most `j rate / m` from
    `j = m / (rate (n + 1))` on. A lot with fewer defects passes as a whole.

    Args:
      held_out_images: `n`.
      parts: number of parts of the lot, `m`.
      rate: see `benjamini_hochberg`.

    Raises:
      ArgumentTypeError: a number is not an integer.
      ArgumentError: a number is below one, or the rate is not in (0, 1).

    >>> fewest_rejections(50, parts=100, rate=0.1), fewest_rejections(999, parts=100, rate=0.1)
    (20, 1)
    """
    check_integer("held_out_images", held_out_images, at_least=1)
    check_integer("parts", parts, at_least=1)
    _check_rate(rate)
    smallest = 1 / (held_out_images + 1)
    fewest = max(1, math.floor(parts * smallest / rate))
    while smallest > rate * fewest / parts:
        fewest += 1
    return fewest


def _check_rate(rate: float) -> None:
    if not 0.0 < rate < 1.0:
        raise ArgumentError(argument("rate", rate), "a number between 0 and 1, e.g. 0.1", f"change {argument('rate')}")
