"""Images a second, of sides that take turns."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from jaxunreg.errors import ArgumentError, argument

Runner: TypeAlias = Callable[[], int]
"""A function that does some work, waits for its end, and returns the number of images."""

Side = TypeVar("Side")


def check_turns(rounds: int, seconds: float, processes: int) -> None:
    """Refuse numbers with which nothing would be measured.

    Args:
      rounds: how often the sides take turns.
      seconds: how long each side runs in a round.
      processes: how often each side is measured in a process of its own.

    Raises:
      ArgumentError: a number is out of its range.
    """
    if rounds < 1 or not seconds > 0 or processes < 0:
        given = {"rounds": rounds, "seconds": seconds, "processes": processes}
        raise ArgumentError(
            ", ".join(argument(name, value) for name, value in given.items()), "at least 1, above zero, and at least 0"
        )


def images_per_second(runner: Runner, seconds: float) -> float:
    """Return the speed of calls that together take at least `seconds`; at least one call."""
    images, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds or not images:
        images += runner()
    return images / elapsed


def take_turns(
    runners: Mapping[Side, Runner],
    rounds: int,
    seconds: float,
    *,
    before: Callable[[], object] = lambda: None,
    pause: float = 0.0,
) -> dict[Side, list[float]]:
    """Return the speed of each side in each round.

    Args:
      runners: the sides. Each was called before, so that nothing is compiled in its turn.
      rounds: how often the sides take turns.
      seconds: how long each side runs in a round.
      before: called before each round.
      pause: seconds before each turn. PyTorch's threads spin for a while after their work, and on a CPU they would take
        time from the next side.
    """
    speeds: dict[Side, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        before()
        for name, runner in runners.items():
            time.sleep(pause)
            speeds[name].append(images_per_second(runner, seconds))
    return speeds


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Return the median of the rounds' ratios, with their range. A machine that slows down slows both sides.

    >>> ratios([2.0, 6.0, 4.0], [1.0, 2.0, 4.0])
    {'ratio': 2.0, 'ratio_low': 1.0, 'ratio_high': 3.0}
    """
    found = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {"ratio": statistics.median(found), "ratio_low": min(found), "ratio_high": max(found)}
