"""A limited number of places for images that wait or are scored."""

import contextlib
import math
import threading
from collections.abc import Iterator

from jaxunreg.integers import check_integer
from jaxunreg.serving.refusals import RequestError, TooLargeError
from jaxunreg.serving.timings import Timings


class QueueFullError(RequestError):
    """All places are taken.

    Attributes:
      retry_after: seconds until there is likely a place, at least one.
    """

    status, reason = 503, "queue full"

    retry_after: int = 1


class Places:
    """A counter of taken places. A request takes places before its images are read, so memory stays bounded.

    Args:
      count: number of places.
      timings: seconds an image, to estimate the time until there is a place.

    Attributes:
      count: as above.
      taken: number of taken places.

    >>> places = Places(2, Timings())
    >>> with places.taking() as some:
    ...     some.take(1)
    ...     places.taken
    2
    >>> places.taken
    0
    """

    def __init__(self, count: int, timings: Timings) -> None:
        self.count = check_integer("max_queue", count, at_least=1)
        self.taken = 0
        self._timings = timings
        self._counting = threading.Lock()

    @contextlib.contextmanager
    def taking(self) -> "Iterator[TakenPlaces]":
        """Take a place, and more if the body asks for them. At its end they are free again.

        Raises:
          QueueFullError: there is no free place.
        """
        some = TakenPlaces(self)
        some.take(1)
        try:
            yield some
        finally:
            self.change(-some.count)

    def change(self, by: int) -> None:
        """Take or return a number of places.

        Raises:
          QueueFullError: fewer places are free.
        """
        with self._counting:
            if self.taken + by > self.count:
                error = QueueFullError(
                    f"{by} more image(s) while {self.taken} wait or are scored",
                    f"at most {self.count} at a time",
                    "send it again later, as Retry-After says",
                )
                error.retry_after = self._seconds_left()
                raise error
            self.taken += by

    def _seconds_left(self) -> int:
        return max(1, math.ceil(self.taken * (self._timings.mean() or 0.0)))


class TakenPlaces:
    """The places of one request; see `Places.taking`."""

    def __init__(self, places: Places) -> None:
        self.count = 0
        self._places = places

    def take(self, more: int) -> None:
        """Take more places.

        Raises:
          QueueFullError: others have taken them.
          TooLargeError: there are never so many.
        """
        if self.count + more > self._places.count:
            raise TooLargeError(
                f"{self.count + more} images in one request",
                f"at most {self._places.count}",
                "send fewer at a time",
            )
        self._places.change(more)
        self.count += more
