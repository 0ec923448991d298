"""Count the files of a folder that one command of `jaxunreg` opens, reads or decodes in this process.

    python -m benchmarks.counted FOLDER score FOLDER --model model

runs `jaxunreg score FOLDER --model model` and prints as a line of JSON what it did with the files of FOLDER.

Files are counted when Python opens them, and images when Pillow decodes them. So the counts do not depend on the
package's internals.
"""

import builtins
import contextlib
import io
import json
import os
import resource
import runpy
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import ImageFile


class Counts:
    """What a process did with the files of one folder.

    Attributes:
      opened: how often each file was opened for reading.
      bytes_read: bytes read from all of them.
      decoded: number of images that Pillow decoded, from this folder or from no file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.opened: Counter[str] = Counter()
        self.bytes_read = 0
        self.decoded = 0

    def within(self, file: Any) -> bool:
        """Return whether an argument of `open` lies in the folder."""
        if isinstance(file, int) or not isinstance(file, str | bytes | os.PathLike):
            return False
        return Path(os.fsdecode(file)).absolute().is_relative_to(self.folder)


class _CountedFile(io.FileIO):
    """A file that counts the bytes from the operating system."""

    def __init__(self, file: str | int, counts: Counts) -> None:
        super().__init__(file)
        self._counts = counts

    def readinto(self, buffer: Any, /) -> int:
        """Do as `io.FileIO` does, and count."""
        read = super().readinto(buffer)
        self._counts.bytes_read += read or 0
        return read

    def readall(self) -> bytes:
        """Do as `io.FileIO` does, and count."""
        content = super().readall()
        self._counts.bytes_read += len(content)
        return content


@contextlib.contextmanager
def counted(folder: Path) -> Iterator[Counts]:
    """Count what all threads of this process do with the files of a folder while the body runs.

    Files that are written or opened as text are not counted.

    Args:
      folder: the folder whose files are counted, with its subfolders.

    Yields:
      The counts, which grow.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name, counted(Path(name)) as counts:
    ...     file = Path(name).resolve() / "a.bin"
    ...     size = file.write_bytes(bytes(10_000))
    ...     with file.open("rb") as opened:
    ...         head = opened.read(8)
    ...     content = file.read_bytes()
    >>> counts.opened.total(), len(content) < counts.bytes_read <= 2 * len(content)
    (2, True)
    """
    counts = Counts(folder)
    opening, loading, opening_descriptor = builtins.open, ImageFile.ImageFile.load, os.open
    paths: dict[int, str] = {}

    def open_counted(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **options: Any) -> Any:
        path: Any = paths.pop(file, None) if isinstance(file, int) else file
        if mode != "rb" or not counts.within(path):
            return opening(file, mode, buffering, *rest, **options)
        counts.opened[os.fsdecode(path)] += 1
        raw = _CountedFile(file if isinstance(file, int) else os.fsdecode(file), counts)
        return raw if buffering == 0 else io.BufferedReader(raw)

    def descriptor_noted(path: Any, *rest: Any, **options: Any) -> int:
        descriptor = opening_descriptor(path, *rest, **options)
        paths.pop(descriptor, None)
        if counts.within(path):
            paths[descriptor] = os.fsdecode(path)
        return descriptor

    def load_counted(image: ImageFile.ImageFile) -> Any:
        # Its tiles remain to be decoded.
        name = getattr(image, "filename", "")
        counts.decoded += bool(image.tile) and (not name or counts.within(name))
        return loading(image)

    # pathlib finds `open` in `io`, Pillow among the built-in functions.
    builtins.open = io.open = open_counted
    os.open = descriptor_noted
    ImageFile.ImageFile.load = load_counted  # type: ignore[method-assign, assignment]
    try:
        yield counts
    finally:
        builtins.open = io.open = opening
        os.open = opening_descriptor
        ImageFile.ImageFile.load = loading  # type: ignore[method-assign]


def measure(folder: Path, arguments: list[str]) -> dict[str, Any]:
    """Run a command of `jaxunreg` and count.

    Args:
      folder: the folder whose files are counted.
      arguments: arguments of the command line.

    Returns:
      JSON data.

    Raises:
      RuntimeError: the command failed.
    """
    sys.argv = ["jaxunreg", *arguments]
    code: Any = 0
    began = time.perf_counter()
    with counted(folder) as counts:
        try:
            runpy.run_module("jaxunreg", run_name="__main__")
        except SystemExit as end:
            code = end.code
    seconds = time.perf_counter() - began
    if code not in (0, 3):  # 3: it found anomalies
        raise RuntimeError(f"jaxunreg {' '.join(arguments)} ended with {code}")
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "files": len(counts.opened),
        "opened": counts.opened.total(),
        "bytes_read": counts.bytes_read,
        "decoded": counts.decoded,
        "seconds": seconds,
        "processor_seconds": used.ru_utime + used.ru_stime,
    }


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), sys.argv[2:])))
