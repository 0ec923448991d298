"""A value with its interval."""

from typing import NamedTuple


class Interval(NamedTuple):
    """An estimate with its confidence interval.

    Attributes:
      value: the estimate.
      low: lower end of the interval.
      high: upper end of the interval.
    """

    value: float
    low: float
    high: float
