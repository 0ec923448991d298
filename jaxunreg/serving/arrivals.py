"""Images that arrive in a folder, and a test of whether they are whole."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jaxunreg.datasets.folders.files import images_below
from jaxunreg.datasets.folders.unusable import ImageFileError


class Stamp(NamedTuple):
    """The properties of a file that change while it is written: its size in bytes and its time in nanoseconds."""

    size: int
    time: int


class Arrival(NamedTuple):
    """An image that seems to be whole.

    Attributes:
      path: the file.
      stamp: stamp of the file.
      unchanged: seconds since its stamp was first seen.
    """

    path: Path
    stamp: Stamp
    unchanged: float


class Arrivals:
    """A repeated look into a folder.

    Args:
      folder: the folder. Its images are those that `load_files` would take.
      settle: seconds without a change of size or time before a file counts as whole.
      clock: returns the time in seconds.

    Attributes:
      waiting: number of images in the last look that have not settled yet.
      failures: the folders that the last look could not read.

    >>> import tempfile
    >>> now = [0.0]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     arrivals = Arrivals(Path(folder), settle=1.0, clock=lambda: now[0])
    ...     _ = Path(folder, "a.png").write_bytes(b"half")
    ...     first = arrivals.look(lambda path, stamp: False)
    ...     now[0] = 1.5
    ...     first, [arrival.path.name for arrival in arrivals.look(lambda path, stamp: False)]
    ([], ['a.png'])
    """

    def __init__(self, folder: Path, *, settle: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.waiting = 0
        self.failures: list[ImageFileError] = []
        self._folder, self._settle, self._clock = folder, settle, clock
        self._seen: dict[Path, tuple[Stamp, float]] = {}
        self._done: dict[Path, Stamp] = {}

    def look(self, is_done: Callable[[Path, Stamp], bool]) -> list[Arrival]:
        """Return the images that have settled, the oldest first.

        Args:
          is_done: returns whether to skip a file with a stamp. Its answers are remembered.
        """
        paths, _, self.failures = images_below(self._folder)
        now, seen, settled = self._clock(), {}, []
        done: dict[Path, Stamp] = {}
        for path in paths:
            stamp = stamp_of(path)
            if stamp is None:
                continue
            if self._done.get(path) == stamp or is_done(path, stamp):
                done[path] = stamp
                continue
            before = self._seen.get(path)
            since = before[1] if before is not None and before[0] == stamp else now
            seen[path] = stamp, since
            if now - since >= self._settle:
                settled.append(Arrival(path, stamp, now - since))
        self._seen, self._done = seen, done
        self.waiting = len(seen) - len(settled)
        return sorted(settled, key=lambda arrival: (arrival.stamp.time, arrival.path))


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a file, or None if it is gone."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return Stamp(found.st_size, found.st_mtime_ns)
