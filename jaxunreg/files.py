"""Files that are whole or not there, and folders that one process holds."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Hand out a temporary sibling of `path`, moved over `path` at the end; removed if the body raises.

    A reader sees the old file or the new one, never half of one.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "a.txt")) as temporary:
    ...         _ = temporary.write_text("whole")
    ...     [file.name for file in Path(folder).iterdir()]
    ['a.txt']
    """
    temporary = temporary_sibling(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_sibling(path: Path) -> Path:
    """A hidden name beside `path` that no other thread, process or machine uses, short however long that of `path`.

    >>> temporary_sibling(Path("a.txt")) == temporary_sibling(Path("a.txt"))
    False
    """
    return path.with_name(f".{uuid.uuid4().hex}.tmp")


@contextlib.contextmanager
def held(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold a folder that is there, for as long as the body runs or the process lives. It leaves no file.

    Args:
      folder: which one.
      wait: until others that hold it have let it go.

    Yields:
      Whether it is held for certain: Windows and some network file systems have no such locks.

    Raises:
      BlockingIOError: it is held already, without `wait`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name, held(Path(name)):
    ...     with held(Path(name)):
    ...         pass
    Traceback (most recent call last):
    BlockingIOError: ...
    """
    try:
        import fcntl
    except ImportError:
        yield False
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:
            locked = False
        else:
            locked = True
        yield locked
    finally:
        os.close(descriptor)
