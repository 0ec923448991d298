"""What a drift test says, in numbers and in words."""

from typing import NamedTuple


class DriftReading(NamedTuple):
    """What a drift test says.

    Attributes:
      parts: number of parts.
      above: number of parts above the threshold.
      expected_above: expected number of parts above the threshold, from the held-out images.
      drift: the highest capital so far of the bets on drift; 1 at the start.
      excess: the highest capital so far of the bets on an excess of parts above the threshold.
      alarm_at: the capital at which either alarms, `2 / alpha`.
    """

    parts: int
    above: int
    expected_above: float
    drift: float
    excess: float
    alarm_at: float

    @property
    def has_drifted(self) -> bool:
        """Whether parts below the threshold no longer look like the held-out ones."""
        return self.drift >= self.alarm_at

    @property
    def has_excess(self) -> bool:
        """Whether more parts lie above the threshold than the rate explains."""
        return self.excess >= self.alarm_at

    @property
    def alarm(self) -> bool:
        """Whether either test alarms."""
        return self.has_drifted or self.has_excess

    @property
    def sentence(self) -> str:
        """The meaning in plain words.

        >>> print(DriftReading(100, 30, 5.0, 1.5, 7e8, 200.0).sentence)
        30 of 100 parts are above the threshold, where about 5 were expected, and the others look like the held-out
        ones: a run of defects
        """
        count = (
            f"{self.above} of {self.parts} parts are above the threshold, where about "
            f"{self.expected_above:.2g} were expected"
        )
        if self.has_drifted and self.has_excess:
            return (
                f"{count}, and the others no longer look like the held-out ones: the line has probably drifted; look "
                "at light, lens and position, then recalibrate or fit again"
            )
        if self.has_drifted:
            return (
                f"normal parts no longer look like the held-out ones ({count}): look at light, lens and position, then "
                "recalibrate or fit again"
            )
        if self.has_excess and 2 * self.above > self.parts:
            return f"{count}: a run of defects, or a change so large that the two cannot be distinguished"
        if self.has_excess:
            return f"{count}, and the others look like the held-out ones: a run of defects"
        return f"no sign of drift ({count})"
