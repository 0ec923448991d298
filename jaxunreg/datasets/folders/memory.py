"""How much memory is free, and turns for threads that decode large images."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from jaxunreg.errors import JaxunregError

_CGROUP = Path("/sys/fs/cgroup")
"""The folder in which Linux gives the limits of a container (version 2)."""

# The rest is for arrays that are made of the decoded ones, and for other programs.
_SHARE = 0.5


def free_memory(cgroup: Path = _CGROUP) -> int:
    """Return the bytes that can be taken without swapping, of the machine or of its container.

    Args:
      cgroup: folder of the container's limits.
    """
    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError, KeyError):  # no container, or one without a limit
        limit, used = (int((cgroup / f"memory.{name}").read_text()) for name in ("max", "current"))
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        # Contents of files, which the system drops before it runs out of memory.
        free = min(free, limit - used + int(stat["inactive_file"]))
    return free


class TooLittleMemoryError(JaxunregError, MemoryError):
    """Less memory is free than was asked for."""


class Turns:
    """Turns of threads that take memory: together half of the free memory, or one thread alone all of it.

    Args:
      free: returns how many bytes are free.
      small: this many bytes or fewer are taken without waiting and are not counted.

    >>> turns = Turns(lambda: 1_000_000_000)
    >>> with turns.taking(300_000_000), turns.taking(200_000_000):
    ...     pass
    >>> with turns.taking(1_500_000_000):
    ...     pass
    Traceback (most recent call last):
    jaxunreg.datasets.folders.memory.TooLittleMemoryError: got 1.5 GB to take; expected at most 1 GB, which is free
    """

    def __init__(self, free: Callable[[], int] = free_memory, *, small: int = 0) -> None:
        self._free, self._small = free, small
        self._left = threading.Condition()
        self._limit = self._taken = 0

    @contextlib.contextmanager
    def taking(self, nbytes: int) -> Iterator[None]:
        """Wait until that many bytes are left, and hold them while the body runs.

        Raises:
          TooLittleMemoryError: there are fewer bytes, even when no other thread holds any.
        """
        if nbytes <= self._small:
            yield
            return
        with self._left:
            self._left.wait_for(lambda: not self._taken or self._taken + nbytes <= self._limit)
            if not self._taken:
                free = self._free()
                self._limit = int(_SHARE * free)
                if nbytes > free:
                    raise TooLittleMemoryError(
                        f"{nbytes / 1e9:.2g} GB to take", f"at most {free / 1e9:.2g} GB, which is free"
                    )
            self._taken += nbytes
        try:
            yield
        finally:
            with self._left:
                self._taken -= nbytes
                self._left.notify_all()
