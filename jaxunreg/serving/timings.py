"""How long a part takes: quantiles of the last measurements."""

import threading
from collections import deque
from typing import NamedTuple

import numpy as np

# An hour with a part every four seconds. Quantiles of more parts would follow a change of the line slowly.
_KEPT = 1000


class Quantiles(NamedTuple):
    """Quantiles of the last measurements, in milliseconds."""

    p50: float
    p95: float
    p99: float


class Timings:
    """Quantiles of the last thousand measurements. Several threads may add measurements.

    Attributes:
      count: number of measurements.

    >>> timings = Timings()
    >>> for milliseconds in range(1, 101):
    ...     timings.add(milliseconds / 1e3)
    >>> timings.count, [round(value, 2) for value in timings.quantiles()]
    (100, [50.5, 95.05, 99.01])
    >>> print(timings.summary())
    50.5 ms (p50), 95.0 ms (p95)
    """

    def __init__(self) -> None:
        self.count = 0
        self._kept: deque[float] = deque(maxlen=_KEPT)
        self._adding = threading.Lock()

    def add(self, seconds: float) -> None:
        """Note a measurement."""
        with self._adding:
            self.count += 1
            self._kept.append(seconds)

    def quantiles(self) -> Quantiles | None:
        """Return the 50th, 95th and 99th percentile, or None before the first measurement."""
        with self._adding:
            kept = np.array(self._kept)
        return Quantiles(*(1e3 * np.quantile(kept, [0.5, 0.95, 0.99])).tolist()) if kept.size else None

    def mean(self) -> float | None:
        """Return the mean in seconds, or None before the first measurement."""
        with self._adding:
            return sum(self._kept) / len(self._kept) if self._kept else None

    def summary(self) -> str:
        """Return the 50th and the 95th percentile as text, or nothing before the first measurement."""
        found = self.quantiles()
        return "" if found is None else f"{found.p50:.1f} ms (p50), {found.p95:.1f} ms (p95)"
