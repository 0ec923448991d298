"""Streams that pass on everything that was computed before an error, and then raise it."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class UntilError(Generic[T]):
    """The items of an iterable up to an error. `raise_error` raises the error later.

    So a caller that collects several items at a time can use the items before the error.

    Args:
      items: the source of the items.

    >>> items = UntilError(10 // k for k in (2, 1, 0, 5))
    >>> list(items)
    [5, 10]
    >>> items.raise_error()
    Traceback (most recent call last):
    ZeroDivisionError: integer division or modulo by zero
    """

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._error is None:
            try:
                return next(self._items)
            except StopIteration:
                raise
            except Exception as error:
                self._error = error
        raise StopIteration

    def raise_error(self) -> None:
        """Raise the error that ended the items, if one did.

        Raises:
          Exception: that error, unchanged.
        """
        if self._error is not None:
            raise self._error


def one_behind(items: Iterable[T]) -> Iterator[T]:
    """Yield the items, each after the next one was begun.

    A device computes a call while the next one is prepared. At most one item waits, so memory does not grow.

    Args:
      items: the source of the items.

    Yields:
      The items in order. If there is an error, the items before it come before it is raised.

    >>> began = []
    >>> first = next(one_behind(began.append(k) or k for k in range(3)))
    >>> first, began
    (0, [0, 1])
    """
    return behind(items, 1)


def behind(items: Iterable[T], count: int) -> Iterator[T]:
    """Yield the items, each after the next `count` were begun; see `one_behind`.

    >>> began = []
    >>> first = next(behind((began.append(k) or k for k in range(9)), 3))
    >>> first, began
    (0, [0, 1, 2, 3])
    """
    begun = UntilError(items)
    waiting: deque[T] = deque()
    for item in begun:
        waiting.append(item)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting
    begun.raise_error()
