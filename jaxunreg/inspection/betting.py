"""Test martingales: capital that grows only where a hypothesis is wrong.

A gambler begins with a capital of one and bets against a hypothesis at fair odds. If the hypothesis holds, his capital
`S_t` is a martingale, and by Ville's inequality

    P(S_t >= 1 / alpha for some t) <= alpha,

however long he plays. So a capital of 100 is evidence at the level 0.01 at any time (Vovk and Wang, "E-values", 2021).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64


class Bets(NamedTuple):
    """The state of a gambler who does not know when the hypothesis stops to hold, nor which bet will pay.

    At first all capital is cash. At step `t` he moves the share `1 / (t + 1)` of his cash into the bets, in equal
    parts, and leaves it there. So the capital is a mixture over all times `s` at which a change may come, with the
    weight `1 / (s (s + 1))`, of what one has who begins to bet at `s`. After `t` steps `1 / (t + 1)` is still cash, so
    that a long time without a change costs no more than a factor of `t + 1`.

    The arrays may have leading axes, for many gamblers side by side.

    Attributes:
      steps: how many there were, `t`.
      log_bets: the logarithm of the capital in each bet, float64 `[*batch, bets]`; -inf where there is none.
      log_highest: the logarithm of the highest capital so far, float64 `[*batch]`.
    """

    steps: int
    log_bets: Float64[np.ndarray, "*batch bets"]
    log_highest: Float64[np.ndarray, "*batch"]

    @property
    def log_capital(self) -> Float64[np.ndarray, "*batch"]:
        """The logarithm of the capital, cash and bets, float64 `[*batch]`."""
        return np.asarray(np.logaddexp(-np.log(self.steps + 1.0), np.logaddexp.reduce(self.log_bets, axis=-1)))


def first_bets(bets: int, batch: tuple[int, ...] = ()) -> Bets:
    """The state before the first step.

    Args:
      bets: how many there are to choose from.
      batch: the leading axes, for many gamblers side by side.

    >>> float(first_bets(3).log_capital)
    0.0
    """
    return Bets(0, np.full((*batch, bets), -np.inf), np.zeros(batch))


def next_bets(state: Bets, factors: Float64[np.ndarray, "*batch bets"]) -> Bets:
    """The state after one more step.

    Args:
      state: before it.
      factors: what each bet makes of one unit, at least zero. Under the hypothesis, and given the past, each must have
        the expectation one.

    >>> state = first_bets(2)
    >>> for _ in range(4):
    ...     state = next_bets(state, np.array([3.0, 0.5]))
    >>> round(float(np.exp(state.log_capital)), 3)
    23.199
    """
    steps = state.steps + 1
    moved = -np.log(steps * (steps + 1.0)) - np.log(factors.shape[-1])
    with np.errstate(divide="ignore"):  # A bet may lose all.
        log_bets = np.logaddexp(state.log_bets, moved) + np.log(factors)
    after = Bets(steps, log_bets, state.log_highest)
    return after._replace(log_highest=np.maximum(state.log_highest, after.log_capital))
