"""Do normal parts still look like the held-out ones? Conformal test martingales, with a bounded false alarm.

There are two, and each bets against something else:

- **drift**: scores *below* the threshold are no longer spread like those of the held-out images below it. Parts above
  the threshold are left out of this test, so even a long run of defects does not change it.
- **excess**: more parts lie *above* the threshold than the rate explains.

Drift without excess is a slow change, such as of the light. Excess without drift is a run of defects. With both, the
line has probably drifted so far that normal parts are called anomalous. If nearly all parts suddenly lie above the
threshold, too few are left below it for the first test, and the two cannot be distinguished.

Each alarms at a capital of `2 / alpha`. By Ville's inequality, the probability that either ever alarms while the parts
are exchangeable with the held-out ones is at most `alpha`, for any number of parts. This accounts for the dependence
through the common held-out images; see `jaxunreg.inspection.urn`.

References:
  Vovk, V., Nouretdinov, I. and Gammerman, A. Testing Exchangeability On-Line. ICML 2003.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.inspection.betting import Bets, first_bets, next_bets
from jaxunreg.inspection.calibration import Calibration
from jaxunreg.inspection.drift_reading import DriftReading
from jaxunreg.inspection.urn import place
from jaxunreg.integers import check_integer
from jaxunreg.metrics.scores import finite_scores
from jaxunreg.serialization import fingerprint

# Bets on p-values x in (0, 1), each with mean one: on low and on high values, weakly and strongly; on very low values;
# on the middle and on the ends.
_TILTS = np.array([-1.8, -0.9, 0.9, 1.8])
_BENDS = np.array([-0.8, 1.6])
_BETS_ON_DRIFT = len(_TILTS) + 1 + len(_BENDS)

# Bets that the odds of a part above the threshold are this many times the odds from the past.
_ODDS = np.array([2.0, 5.0, 20.0])


class DriftState(NamedTuple):
    """The state of a drift test after some parts.

    Attributes:
      counts: number of scores in each interval between the held-out ones, int64 `[n + 1]`.
      drift: bets against "scores below the threshold are spread like the held-out ones".
      excess: bets against "parts above the threshold are as frequent as among the held-out ones".
    """

    counts: Int64[np.ndarray, "*batch intervals"]
    drift: Bets
    excess: Bets


@dataclass(frozen=True, eq=False)
class DriftTest:
    """A test of whether parts are still exchangeable with the held-out ones, part after part.

    States are values: `step` returns a new one and changes nothing. The random numbers that break ties and smooth
    p-values depend on the seed and the number of the part, so the same scores give the same states.

    Attributes:
      calibration: calibration from the held-out images.
      false_positive_rate: false-positive rate of the threshold.
      alpha: the largest probability of ever giving a false alarm.
      seed: seed of the random numbers.

    Raises:
      ArgumentError: `Calibration.threshold` refuses the rate, or `alpha` is not in (0, 1).

    >>> from jaxunreg.inspection import calibrate
    >>> rng = np.random.default_rng(0)
    >>> test = DriftTest(calibrate(rng.normal(size=200)), false_positive_rate=0.05)
    >>> state = test.init()
    >>> for score in rng.normal(size=300):
    ...     state = test.step(state, score)
    >>> test.reading(state).alarm
    False
    >>> for score in rng.normal(size=300) + 1.0:
    ...     state = test.step(state, score)
    >>> test.reading(state).has_drifted
    True
    """

    calibration: Calibration
    false_positive_rate: float
    alpha: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        self.calibration.threshold(self.false_positive_rate)
        check_integer("seed", self.seed, at_least=0)
        if not 0.0 < self.alpha < 1.0:
            raise ArgumentError(
                argument("alpha", self.alpha), "a number between 0 and 1, e.g. 0.01", "give a probability"
            )

    @cached_property
    def exceeding(self) -> int:
        """Number of the `n + 1` intervals between the held-out scores that lie above the threshold."""
        return self.calibration.exceeding(self.false_positive_rate)

    def init(self) -> DriftState:
        """Return the state before the first part."""
        return first_state(self.calibration.count)

    def step(self, state: DriftState, score: float) -> DriftState:
        """Return the state after one more part.

        Args:
          state: the state before it.
          score: score of the part, from the detector of the calibration.

        Raises:
          ArgumentError: the score is not finite.
        """
        [value] = finite_scores("given", [score])
        generator = np.random.Generator(np.random.Philox(key=self.seed, counter=1 + state.drift.steps))
        tie, smoothing = 1.0 - generator.random(2)
        scores = self.calibration.scores
        low, high = (int(np.searchsorted(scores, value, side=side)) for side in ("left", "right"))
        # An equal held-out score counts as below if its own random number is lower.
        interval = low + int((self._tie_breaks[low:high] < tie).sum())
        return advance(state, np.array(interval), np.array(smoothing), self.exceeding)

    def reading(self, state: DriftState) -> DriftReading:
        """Return what the test says after the parts so far."""
        parts, share = state.drift.steps, self.exceeding / (self.calibration.count + 1)
        return DriftReading(
            parts=parts,
            above=int(state.counts[-self.exceeding :].sum()),
            expected_above=parts * share,
            drift=_capital(state.drift),
            excess=_capital(state.excess),
            alarm_at=2.0 / self.alpha,
        )

    def dump(self, state: DriftState) -> dict[str, Any]:
        """Return a state as JSON data, with a note of its calibration."""
        return {
            "calibration": self._identity,
            "counts": state.counts.tolist(),
            "steps": state.drift.steps,
            **{
                name: {"log_bets": _finite(bets.log_bets), "log_highest": float(bets.log_highest)}
                for name, bets in (("drift", state.drift), ("excess", state.excess))
            },
        }

    def restore(self, data: Mapping[str, Any]) -> DriftState:
        """Return the state from the JSON data of `dump`.

        Raises:
          ArgumentError: the data are not a state, or have another calibration, rate or seed.

        >>> from jaxunreg.inspection import calibrate
        >>> test = DriftTest(calibrate(range(50)), 0.1)
        >>> test.restore(test.dump(test.step(test.init(), 49.5))).counts[-1].item()
        1
        """
        try:
            identity, steps = data["calibration"], check_integer("steps", data["steps"], at_least=0)
            counts = np.array(data["counts"], np.int64)
            bets = {name: _restored(steps, data[name], width) for name, width in _WIDTHS.items()}
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ArgumentError(
                f"a drift state that cannot be read: {type(error).__name__}: {error}",
                "one that `DriftTest.dump` wrote",
                "begin again with `DriftTest.init`",
                field="state",
            ) from error
        fits = counts.shape == (self.calibration.count + 1,) and (counts >= 0).all() and counts.sum() == steps
        if identity != self._identity or not fits:
            raise ArgumentError(
                "a drift state of another calibration",
                "one of the same held-out scores, false-positive rate and seed",
                "begin again, because the test begins again after a calibration",
                field="state",
            )
        return DriftState(counts, **bets)

    @cached_property
    def _tie_breaks(self) -> Float64[np.ndarray, " n"]:
        """Return a random number for each held-out score."""
        return np.random.Generator(np.random.Philox(key=self.seed, counter=0)).random(self.calibration.count)

    @cached_property
    def _identity(self) -> str:
        return fingerprint([self.calibration.scores, np.array([self.exceeding, self.seed])])


def first_state(held_out_images: int, batch: tuple[int, ...] = ()) -> DriftState:
    """Return the state before the first part.

    Args:
      held_out_images: number of held-out images.
      batch: the leading axes, for many lines side by side.
    """
    counts = np.zeros((*batch, held_out_images + 1), np.int64)
    return DriftState(counts, first_bets(_BETS_ON_DRIFT, batch), first_bets(len(_ODDS), batch))


def advance(
    state: DriftState,
    interval: Int64[np.ndarray, "*batch"],
    uniform: Float64[np.ndarray, "*batch"],
    exceeding: int,
) -> DriftState:
    """Return the state after one more part, or one more on each of many lines; a pure function.

    Args:
      state: the state before it.
      interval: number of held-out scores below the part's.
      uniform: a random number in (0, 1).
      exceeding: number of the intervals between held-out scores that lie above the threshold.
    """
    placed = place(state.counts, interval, uniform, exceeding)
    p, above = placed.p_value[..., None], placed.is_above[..., None]
    centred = 2.0 * p - 1.0
    on_drift = np.concatenate(
        [1.0 + _TILTS / 2 * centred, 0.5 / np.sqrt(p), 1.0 + _BENDS * (1.5 * centred**2 - 0.5)], axis=-1
    )
    chance = placed.chance_above[..., None]
    on_excess = np.where(above, _ODDS, 1.0) / (1.0 - chance + _ODDS * chance)
    # Parts above the threshold do not count for drift: there are no bets on them.
    return DriftState(
        placed.counts, next_bets(state.drift, np.where(above, 1.0, on_drift)), next_bets(state.excess, on_excess)
    )


_WIDTHS = {"drift": _BETS_ON_DRIFT, "excess": len(_ODDS)}

# Beyond this, a float64 overflows.
_MOST_LOG = 700.0


def _capital(bets: Bets) -> float:
    return math.exp(min(float(bets.log_highest), _MOST_LOG))


def _finite(log_bets: np.ndarray) -> list[float | None]:
    """Replace infinities, which JSON does not have."""
    return [value if math.isfinite(value) else None for value in log_bets.tolist()]


def _restored(steps: int, data: Mapping[str, Any], width: int) -> Bets:
    log_bets = np.array([-np.inf if value is None else float(value) for value in data["log_bets"]])
    log_highest = np.array(float(data["log_highest"]))
    if log_bets.shape != (width,) or np.isnan(log_bets).any() or not np.isfinite(log_highest):
        raise ArgumentError("bets of another kind", f"{width} finite logarithms", field="log_bets")
    return Bets(steps, log_bets, log_highest)
