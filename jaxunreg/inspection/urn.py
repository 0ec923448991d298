"""The place of new scores among the held-out ones: exact probabilities, although all share the held-out images.

The p-values of `Calibration.p_values` depend on each other, because each new image is compared with the same `n`
held-out ones. That matters for a test over thousands of parts: the drawn held-out images differ a little from all
normal images, and sooner or later every such test would notice.

`n` held-out scores make `n + 1` intervals. If all scores are exchangeable, the next one falls into interval `j` with
the probability

    P(j | past) = (1 + N_j) / (n + 1 + t),

where `N_j` of the `t` earlier new scores fell into it: Pólya's urn. These are the online conformal p-values, of each
score among the held-out ones *and* all earlier ones. Smoothed, they are exactly independent and uniform (theorem 8.2 of
the reference).

References:
  Vovk, V., Gammerman, A. and Shafer, G. Algorithmic Learning in a Random World. 2005.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64


class Placed(NamedTuple):
    """What the urn says about one new score.

    The arrays may have leading axes, for many urns side by side.

    Attributes:
      counts: number of new scores in each interval, including this one, int64 `[*batch, intervals]`.
      is_above: whether the score lies above the threshold, bool `[*batch]`.
      chance_above: the probability that it does, given the past, float64 `[*batch]`.
      p_value: p-value of the score among those on its side of the threshold, float64 `[*batch]` in (0, 1); low for a
        high score. Given the past and `is_above`, it is uniform.
    """

    counts: Int64[np.ndarray, "*batch intervals"]
    is_above: np.ndarray
    chance_above: Float64[np.ndarray, "*batch"]
    p_value: Float64[np.ndarray, "*batch"]


def place(
    counts: Int64[np.ndarray, "*batch intervals"],
    interval: Int64[np.ndarray, "*batch"],
    uniform: Float64[np.ndarray, "*batch"],
    exceeding: int,
) -> Placed:
    """Put a new score into its interval; a pure function.

    Args:
      counts: number of new scores in each interval so far, ascending.
      interval: number of held-out scores below the new one.
      uniform: a random number in (0, 1), which smooths the p-value.
      exceeding: number of intervals above the threshold, the highest ones.

    >>> placed = place(np.array([0, 3, 0, 0]), np.array(1), np.array(0.5), exceeding=1)
    >>> placed.counts.tolist(), bool(placed.is_above), placed.chance_above.round(3).tolist(), placed.p_value.tolist()
    ([0, 4, 0, 0], False, 0.143, 0.5)
    """
    balls = counts + 1
    numbers = np.arange(balls.shape[-1])
    is_high = numbers >= balls.shape[-1] - exceeding
    is_above = np.take_along_axis(np.broadcast_to(is_high, balls.shape), interval[..., None], -1)[..., 0]
    same_side = np.where(is_high == is_above[..., None], balls, 0)
    here = np.take_along_axis(balls, interval[..., None], -1)[..., 0]
    higher = np.where(numbers > interval[..., None], same_side, 0).sum(axis=-1)
    return Placed(
        counts=counts + (numbers == interval[..., None]),
        is_above=is_above,
        chance_above=balls[..., -exceeding:].sum(axis=-1) / balls.sum(axis=-1),
        p_value=(higher + uniform * here) / same_side.sum(axis=-1),
    )
