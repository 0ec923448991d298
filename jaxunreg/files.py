"""Files that appear whole or not at all, and folders that one process holds."""

import contextlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Hand out a temporary sibling of `path`, and move it to `path` at the end.

    A reader sees the old file or the new one, never half of one. If the body raises, the temporary file is removed and
    `path` stays as it was. A symbolic link at `path` is replaced; the file that it points to is not changed.

    Args:
      path: the file, in a folder that exists.

    Yields:
      The temporary file, which the body must write.

    Raises:
      OSError: the file cannot be moved, or the body did not write it.

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


@contextlib.contextmanager
def growing(path: Path) -> Iterator[Path]:
    """Hand out the file `PATH.part`, empty, and move it to `path` at the end.

    Unlike the file of `replacing` it is one that a user can see. If the body raises, or the process is killed, it
    stays with all that was written into it.

    Args:
      path: the file, in a folder that exists.

    Yields:
      The file, into which the body must write.

    Raises:
      BlockingIOError: another process writes into that file.
      OSError: the file cannot be made or moved, or is a symbolic link or a folder.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with growing(Path(folder, "a.csv")) as part:
    ...         part.name
    ...     [file.name for file in Path(folder).iterdir()]
    'a.csv.part'
    ['a.csv']
    """
    part = path.with_name(f"{path.name}.part")
    # A link that someone else put there is not followed.
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666))
    with held(part):
        os.truncate(part, 0)
        yield part
        os.replace(part, path)


def temporary_sibling(path: Path) -> Path:
    """A hidden name beside `path` that no other thread, process or machine uses. It is short even if `path` is long.

    >>> temporary_sibling(Path("a.txt")) == temporary_sibling(Path("a.txt"))
    False
    """
    return path.with_name(f".{uuid.uuid4().hex}.tmp")


def remove_leftovers(folder: Path, *, seconds: float = 86_400.0) -> None:
    """Remove what processes that were killed left in a folder, under names of `temporary_sibling`.

    Args:
      folder: which one. Nothing is done where it cannot be read.
      seconds: how old a leftover is at least; 0 for a folder that no other process writes into.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     temporary_sibling(Path(folder, "a.txt")).touch()
    ...     remove_leftovers(Path(folder))
    ...     before = len(os.listdir(folder))
    ...     remove_leftovers(Path(folder), seconds=0.0)
    ...     before, len(os.listdir(folder))
    (1, 0)
    """
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if _TEMPORARY.fullmatch(path.name) and time.time() - path.lstat().st_mtime >= seconds:
                remove(path)


def remove(path: Path) -> None:
    """Remove a file, a folder with all that is in it, or a symbolic link and not what it points to, if one is there.

    Raises:
      OSError: it cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def held(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold an existing folder while the body runs, so that no other process holds it. No file is written for it.

    The folder is also let go when the process dies.

    Args:
      folder: which one.
      wait: whether to wait until another holder lets the folder go.

    Yields:
      Whether the folder is certainly held. Windows and some network file systems have no such locks.

    Raises:
      BlockingIOError: another holder has the folder, and `wait` is false.

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
