"""A function of many arguments, several at a time."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from jaxunreg.scoring.until_error import behind

T = TypeVar("T")
Result = TypeVar("Result")


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
    with ThreadPoolExecutor(workers) as pool:
        for future in behind((pool.submit(function, argument) for argument in arguments), workers):
            yield future.result()
