"""Streams that hand on all that was computed before an error, and then raise it."""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class UntilError(Generic[T]):
    """The items of an iterable, which end where an error ends them. `raise_error` raises it later.

    A caller that collects several items at a time can so use those that came before the error.

    Args:
      items: what to take the items from.

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
          Exception: that error, as it was.
        """
        if self._error is not None:
            raise self._error


def one_behind(items: Iterable[T]) -> Iterator[T]:
    """The items, each after the next one was begun.

    A device computes a call while the next one is prepared. No more than one waits, so that memory does not grow.

    Args:
      items: what to take the items from.

    Yields:
      The items in order, and those before an error before it is raised.

    >>> began = []
    >>> first = next(one_behind(began.append(k) or k for k in range(3)))
    >>> first, began
    (0, [0, 1])
    """
    begun = UntilError(items)
    waiting: list[T] = []
    for item in begun:
        yield from waiting
        waiting = [item]
    yield from waiting
    begun.raise_error()
