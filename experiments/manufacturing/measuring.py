"""The cost of a model: the seconds and the memory of its fit, and milliseconds an image."""

import concurrent.futures
import dataclasses
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jax

from jaxunreg.compilation import keep_compiled

from .config import ManufacturingConfig

_T = TypeVar("_T")


class Cost(NamedTuple):
    """The cost of a function in a separate process.

    Attributes:
      seconds: seconds of the call, without the start of the process.
      peak_mb: the peak resident memory of the process, with Python and JAX, in megabytes; None if the system does not
        report it.
    """

    seconds: float
    peak_mb: float | None


def measures_memory(config: ManufacturingConfig, trial: int) -> bool:
    """Return whether to measure the memory of a trial's fits. On accelerators, the host's memory says little."""
    return config.memory and trial == 0 and jax.default_backend() == "cpu"


def alone(function: Callable[..., Any], *arguments: Any) -> Cost:
    """Call a function in a fresh process, and drop its result.

    In a process that has done other work, the memory of that work hides the need of a call.

    Args:
      function: a function of a module, so that it can be pickled.
      arguments: its arguments, which are pickled too.

    Raises:
      Exception: what the function raises.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context, initializer=_start) as executor:
        return executor.submit(_measured, function, *arguments).result()


def _start() -> None:
    # An interrupt ends the process without a traceback. The waiting process says how to go on.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    keep_compiled()


def _measured(function: Callable[..., Any], *arguments: Any) -> Cost:
    began = time.perf_counter()
    function(*arguments)
    seconds = time.perf_counter() - began
    return Cost(seconds, _peak_mb())


def _peak_mb() -> float | None:
    """Return the peak of this program alone. `getrusage` includes the peak of the process that started it."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((1.024e-3 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


@dataclasses.dataclass
class Paced(Generic[_T]):
    """Items, with the time at which each was requested.

    Programs request a few images ahead of their results, and compile at the first ones. So the pace is that of the last
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
        """Return the mean time from one item to the next, or None if there are too few items."""
        first = len(self.times) // 4
        count = len(self.times) - 1 - first
        return 1e3 * (self.times[-1] - self.times[first]) / count if count > 0 else None
