"""The promises of a detector after a new calibration, and those that it can no longer make, in plain words."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from jaxunreg.inspection.calibration import Calibration

# Below this probability, chance is not an explanation.
_UNLIKELY = 0.001


class Recalibration(NamedTuple):
    """How the scores of more good parts compare with those of the held-out ones.

    Attributes:
      added: number of new parts.
      above: number of new parts above the old threshold.
      expected_above: expected number above it, if they were taken as they come.
      chance_above: the probability of this number or more.
      chance_below: the probability of this number or fewer.
      chance_alike: the p-value of a rank test (Mann and Whitney) for equal distributions.
      threshold_before: the old threshold, in nats.
      threshold: the new threshold, in nats.
      only_new: whether the threshold rests only on these parts.
    """

    added: int
    above: int
    expected_above: float
    chance_above: float
    chance_below: float
    chance_alike: float
    threshold_before: float
    threshold: float
    only_new: bool

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the threshold does not promise, and why. Empty if the parts may have been taken as they come."""
        count = (
            f"{self.above} of the {self.added} good parts are above the threshold before, where about "
            f"{self.expected_above:.2g} were expected"
        )
        if self.chance_above < _UNLIKELY:
            return (
                f"{count}. Either the detector selected them, as where these are its false alarms: then "
                f"{self._with_false_alarms}. Give all good parts of a period, those that passed too. Or the line has "
                "changed: then use --only-new",
            )
        if self.chance_below < _UNLIKELY:
            return (
                f"{count}. The detector may have selected them, as where these are the parts that passed: then the "
                "threshold is too low, and more good parts than told will be called anomalous. Give the false alarms "
                "of that period, too",
            )
        if self.chance_alike < _UNLIKELY and not self.only_new:
            return (
                f"the scores of the {self.added} good parts are distributed unlike those of the held-out ones: the "
                "line may have changed. A threshold on both together promises its rate for a mixture of both; "
                "--only-new takes the new ones alone",
            )
        return ()

    @property
    def _with_false_alarms(self) -> str:
        if self.only_new:
            return "the threshold rests on parts that were selected, and promises nothing of all the others"
        if self.threshold < self.threshold_before:
            return "the rate is not the one that is told, and nobody knows which it is"
        return (
            "false alarms are no more frequent than before, but the rate is not the one that is told: it is lower, "
            "nobody knows how far, and more defects pass"
        )


def compared(
    before: Calibration, rate: float, scores: Float64[np.ndarray, " n"], threshold: float, *, only_new: bool
) -> Recalibration:
    """Compare the scores of more good parts with those of the held-out ones.

    Let `a` of the `n + 1` intervals between the held-out scores lie above a threshold. If all scores are exchangeable,
    the number of `m` new scores above it follows the beta-binomial distribution of `m`, `a` and `n + 1 - a`.

    Args:
      before: scores of the held-out images.
      rate: rate of the old threshold.
      scores: scores of the new parts.
      threshold: the new threshold.
      only_new: whether it rests only on the new parts.

    >>> from jaxunreg.inspection import calibrate
    >>> found = compared(calibrate(range(100)), 0.05, np.full(10, 500.0), 500.0, only_new=False)
    >>> found.above, round(found.expected_above, 2), found.chance_above < 1e-6
    (10, 0.5, True)
    """
    import scipy.stats  # slow to import, and only reports of a rate need it

    above, exceeding = int(before.is_anomalous(scores, rate).sum()), before.exceeding(rate)
    number = scipy.stats.betabinom(len(scores), exceeding, before.count + 1 - exceeding)
    return Recalibration(
        added=len(scores),
        above=above,
        expected_above=float(number.mean()),
        chance_above=float(number.sf(above - 1)),
        chance_below=float(number.cdf(above)),
        chance_alike=float(scipy.stats.mannwhitneyu(scores, before.scores).pvalue),
        threshold_before=before.threshold(rate),
        threshold=threshold,
        only_new=only_new,
    )
