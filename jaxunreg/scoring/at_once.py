"""A function of many arguments, several at a time."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Result = TypeVar("Result")


def cores() -> int:
    """Return how many cores of the CPU this process may use.

    >>> cores() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def at_once(function: Callable[[T], Result], arguments: Iterable[T], workers: int) -> Iterator[Result]:
    """Yield the results of a function in order, computed in several threads.

    Args:
      function: releases Python's lock while it works, as a compiled program does.
      arguments: read one after another in the caller's thread. One more waits than there are threads.
      workers: number of threads.

    Yields:
      The result for each argument.

    Raises:
      Exception: the first error of the function or of the arguments, after the results before it.

    >>> list(at_once(abs, iter([-3, 1, -2]), workers=2))
    [3, 1, 2]
    """
    begun: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for argument in arguments:
            begun.append(pool.submit(function, argument))
            if len(begun) > workers:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
