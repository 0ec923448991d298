"""What a model costs: seconds to fit, the memory that took, and milliseconds an image."""

import dataclasses
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

import psutil

_T = TypeVar("_T")

_MB = 1e6


class Cost:
    """Seconds of the body of a `with`, and by how much the process grew in it at most.

    The resident memory of the process is looked at a hundred times a second, less what it shares with files. So memory
    that an earlier model left behind does not count, and a peak of some milliseconds may be missed.

    Attributes:
      seconds: of the body, after it.
      peak_mb: megabytes by which the resident memory rose at most.

    >>> with Cost() as cost:
    ...     content = bytearray(50_000_000)
    ...     time.sleep(0.1)
    >>> cost.seconds >= 0.1, cost.peak_mb > 40
    (True, True)
    """

    def __enter__(self) -> "Cost":
        self._process = psutil.Process()
        self._done = threading.Event()
        self._before = self._most = self._resident()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds = time.perf_counter() - self._began
        self._done.set()
        self._watcher.join()
        self._most = max(self._most, self._resident())
        self.peak_mb = (self._most - self._before) / _MB

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self._most = max(self._most, self._resident())

    def _resident(self) -> int:
        memory = self._process.memory_info()
        return memory.rss - getattr(memory, "shared", 0)


@dataclasses.dataclass
class Paced(Generic[_T]):
    """Items, with the time at which each was asked for.

    Programs ask for images a few ahead of their results, and compile at the first ones. So the pace is that of the last
    three quarters.

    Attributes:
      items: the images.

    >>> images = Paced(range(8))
    >>> for _ in images:
    ...     time.sleep(0.01)
    >>> 9 < images.milliseconds < 30
    True
    """

    items: Iterable[_T]
    times: list[float] = dataclasses.field(default_factory=list)

    def __iter__(self) -> Iterator[_T]:
        for item in self.items:
            self.times.append(time.perf_counter())
            yield item

    @property
    def milliseconds(self) -> float | None:
        """From one item to the next, on average; None where there are too few of them."""
        first = len(self.times) // 4
        count = len(self.times) - 1 - first
        return 1e3 * (self.times[-1] - self.times[first]) / count if count > 0 else None
