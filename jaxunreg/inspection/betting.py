"""Test martingales: capital that grows only where a hypothesis is wrong.

A gambler begins with a capital of one and bets against a hypothesis at fair odds. If the hypothesis holds, the capital
`S_t` is a martingale, and by Ville's inequality

    P(S_t >= 1 / alpha for some t) <= alpha,

for a game of any length. So a capital of 100 is evidence at the level 0.01 at any time.

References:
  Vovk, V. and Wang, R. E-values: Calibration, Combination and Applications. Annals of Statistics 49, 2021.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64


class Bets(NamedTuple):
    """The state of a gambler who knows neither when the hypothesis stops to hold nor which bet will pay.

    At first all capital is cash. At step `t` the share `1 / (t + 1)` of the cash moves into the bets, in equal parts,
    and stays there. So the capital is a mixture, over all times `s` of a possible change with the weight
    `1 / (s (s + 1))`, of the capitals of gamblers who begin to bet at `s`. After `t` steps `1 / (t + 1)` is still cash,
    so a long time without a change costs at most a factor of `t + 1`.

    The arrays may have leading axes, for many gamblers side by side.

    Attributes:
      steps: number of steps, `t`.
      log_bets: the logarithm of the capital in each bet, float64 `[*batch, bets]`; -inf for no capital.
      log_highest: the logarithm of the highest capital so far, float64 `[*batch]`.
    """

    steps: int
    log_bets: Float64[np.ndarray, "*batch bets"]
    log_highest: Float64[np.ndarray, "*batch"]

    @property
    def log_capital(self) -> Float64[np.ndarray, "*batch"]:
        """Return the logarithm of the capital, cash and bets, float64 `[*batch]`."""
        return np.asarray(np.logaddexp(-np.log(self.steps + 1.0), np.logaddexp.reduce(self.log_bets, axis=-1)))


def first_bets(bets: int, batch: tuple[int, ...] = ()) -> Bets:
    """Return the state before the first step.

    Args:
      bets: number of bets.
      batch: the leading axes, for many gamblers side by side.

    >>> float(first_bets(3).log_capital)
    0.0
    """
    return Bets(0, np.full((*batch, bets), -np.inf), np.zeros(batch))


def next_bets(state: Bets, factors: Float64[np.ndarray, "*batch bets"]) -> Bets:
    """Return the state after one more step.

    Args:
      state: the state before the step.
      factors: what each bet makes of one unit, at least zero. Under the hypothesis and given the past, each must have
        expectation one.

    >>> state = first_bets(2)
    >>> for _ in range(4):
    ...     state = next_bets(state, np.array([3.0, 0.5]))
    >>> round(float(np.exp(state.log_capital)), 3)
    23.199
    """
    steps = state.steps + 1
    moved = -np.log(steps * (steps + 1.0)) - np.log(factors.shape[-1])
    with np.errstate(divide="ignore"):  # A bet may lose everything.
        log_bets = np.logaddexp(state.log_bets, moved) + np.log(factors)
    after = Bets(steps, log_bets, state.log_highest)
    return after._replace(log_highest=np.maximum(state.log_highest, after.log_capital))
