"""The memory in which decoded images may stay."""

import threading

import psutil

# More of a large data set would hardly save time, and the network needs memory too.
MOST_BYTES = 2**29
_SHARE_OF_FREE = 0.125


class Room:
    """A number of bytes that several threads share. They never take more than there are.

    Args:
      nbytes: number of bytes.

    >>> room = Room(10)
    >>> room.take(7), room.take(7), room.take(3)
    (True, False, True)
    """

    def __init__(self, nbytes: int) -> None:
        self._left = nbytes
        self._taking = threading.Lock()

    @classmethod
    def in_memory(cls) -> "Room":
        """Return a room of an eighth of the free memory, and at most 512 MB."""
        return cls(int(min(MOST_BYTES, _SHARE_OF_FREE * psutil.virtual_memory().available)))

    def take(self, nbytes: int) -> bool:
        """Take that many bytes if they are left, and return whether they were."""
        with self._taking:
            if nbytes > self._left:
                return False
            self._left -= nbytes
            return True
