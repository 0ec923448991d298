"""How much of what is decoded may stay in memory."""

import threading

import psutil

# More of a large data set would hardly save time, and the network wants memory too.
MOST_BYTES = 2**29
_SHARE_OF_FREE = 0.125


class Room:
    """Bytes that several threads take from, and never more than there are.

    Args:
      nbytes: how many there are.

    >>> room = Room(10)
    >>> room.take(7), room.take(7), room.take(3)
    (True, False, True)
    """

    def __init__(self, nbytes: int) -> None:
        self._left = nbytes
        self._taking = threading.Lock()

    @classmethod
    def in_memory(cls) -> "Room":
        """An eighth of the memory that is free, and at most 512 MB."""
        return cls(int(min(MOST_BYTES, _SHARE_OF_FREE * psutil.virtual_memory().available)))

    def take(self, nbytes: int) -> bool:
        """Take that many bytes if they are left, and say whether they were."""
        with self._taking:
            if nbytes > self._left:
                return False
            self._left -= nbytes
            return True
