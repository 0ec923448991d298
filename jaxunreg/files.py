"""Files that appear whole or not at all, and folders that only one process holds."""

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
    """Give the body a temporary sibling of `path`, and move it to `path` at the end.

    A reader sees the old file or the new file, never half a file. If the body raises, the temporary file is removed and
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
    """Give the body the empty file `PATH.part`, and move it to `path` at the end.

    Unlike the file of `replacing`, a user can see it. If the body raises or the process is killed, it stays with
    everything that was written into it.

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
    # A link that somebody else made there is not followed.
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666))
    with held(part):
        os.truncate(part, 0)
        yield part
        os.replace(part, path)


def temporary_sibling(path: Path) -> Path:
    """Return a hidden name beside `path` that no other thread, process or machine uses. It is short for any `path`.

    >>> temporary_sibling(Path("a.txt")) == temporary_sibling(Path("a.txt"))
    False
    """
    return path.with_name(f".{uuid.uuid4().hex}.tmp")


def remove_leftovers(folder: Path, *, seconds: float = 86_400.0) -> None:
    """Remove the files of `temporary_sibling` that killed processes left in a folder.

    Args:
      folder: the folder. If it cannot be read, nothing is done.
      seconds: the least age of a file to remove; 0 for a folder that no other process writes into.

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
    """Remove a file, a folder with its contents, or a symbolic link without its target, if it exists.

    Raises:
      OSError: it cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def held(folder: Path, *, wait: bool = False) -> Iterator[bool]:
    """Hold an existing folder while the body runs, so that no other process holds it. This writes no file.

    The folder is also released when the process dies.

    Args:
      folder: the folder.
      wait: whether to wait until another holder releases the folder.

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
