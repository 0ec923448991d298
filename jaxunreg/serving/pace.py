"""Milliseconds a part in a stream of images, of which the network may take several at a time."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from jaxunreg.serving.timings import Timings

_Image = TypeVar("_Image")
_Result = TypeVar("_Result")


class Pace:
    """A measurement of how long a part takes, with reading it and writing its row, without the start-up.

    A detector reads as many images as fit into a call, and then yields as many results at once. Each counts with the
    mean of the time since the last call. The first call is the start-up: it loads and compiles.

    Args:
      clock: returns the time in seconds.

    Attributes:
      timings: timings of all parts after the start-up.
      start_up: seconds until the first result, or None before it.

    >>> ticks = iter([0.0, 0.1, 3.0, 3.1, 4.1, 4.1])
    >>> pace = Pace(lambda: next(ticks))
    >>> def two_at_a_time(images):
    ...     for first in images:
    ...         yield from [first, next(images)]
    >>> list(pace.showing(two_at_a_time(pace.reading(range(4)))))
    [0, 1, 2, 3]
    >>> pace.start_up, pace.timings.summary()
    (3.0, '500.0 ms (p50), 500.0 ms (p95)')
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.timings = Timings()
        self.start_up: float | None = None
        self._clock = clock
        self._began = self._ended = clock()
        # When the last call ended, or None in the start-up.
        self._before: float | None = None
        self._together, self._has_read = 0, False

    def reading(self, images: Iterable[_Image]) -> Iterator[_Image]:
        """Yield the images, and note each when it is read."""
        for image in images:
            self._has_read = True
            yield image
        self._has_read = True

    def showing(self, results: Iterable[_Result]) -> Iterator[_Result]:
        """Yield the results, and note when each comes. The time between two streams is not counted."""
        began = self._clock()
        self._before = None if self._before is None else began
        try:
            for result in results:
                now = self._clock()
                if self.start_up is None:
                    self.start_up = now - self._began
                if self._has_read:
                    self._close_call()
                    self._has_read = False
                self._together, self._ended = self._together + 1, now
                yield result
        finally:
            self._close_call()

    def _close_call(self) -> None:
        if self._together and self._before is not None:
            for _ in range(self._together):
                self.timings.add((self._ended - self._before) / self._together)
        if self._together:
            self._before, self._together = self._ended, 0
