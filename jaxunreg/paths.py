"""Paths from users, and the files at these paths."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from jaxunreg.errors import ArgumentError, ArgumentTypeError, JaxunregError, argument


class NotAFileError(JaxunregError, OSError):
    """A path does not lead to a regular file, and cannot be read as one."""

    def __init__(self, got: str, expected: str = "", advice: str = "", field: str | None = None) -> None:
        super().__init__(got, expected, advice, field)
        self.strerror = got


def given_path(name: str, value: str | os.PathLike[str]) -> Path:
    """Check a user's path for an argument. `~` at its beginning is the user's home, unless a file has that name.

    Args:
      name: name of the argument.
      value: what was given for it.

    Raises:
      ArgumentTypeError: it is not a path.
      ArgumentError: it is empty, or holds a null byte.

    >>> given_path("directory", "parts").name
    'parts'
    >>> given_path("directory", "")
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got directory=''; expected a path; give '.' for the current folder
    """
    if not isinstance(value, str | os.PathLike):
        raise ArgumentTypeError(
            f"{argument(name)} of type {type(value).__name__}", "a path", f"give {argument(name)} as str or Path"
        )
    text = os.fsdecode(value)
    if not text:
        raise ArgumentError(argument(name, text), "a path", "give '.' for the current folder")
    if "\0" in text:
        raise ArgumentError(argument(name, text), "a path without null bytes", "look at where it comes from")
    path = Path(text)
    if text.startswith("~") and not os.path.lexists(path):
        try:
            return path.expanduser()
        except RuntimeError:
            return path  # There is no such user or home.
    return path


_KINDS = {
    stat.S_IFIFO: "it is a pipe and no file",
    stat.S_IFSOCK: "it is a socket and no file",
    stat.S_IFCHR: "it is a device and no file",
    stat.S_IFBLK: "it is a disk and no file",
    stat.S_IFDIR: "it is a folder and no file",
}


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file; see `open_file`."""
    with open_file(path) as file:
        return file.read()


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file to read it. Pipes, sockets and devices are refused: reading them might never end.

    Args:
      path: the file, or a link to it.

    Raises:
      NotAFileError: it is something else.
      OSError: it cannot be read.
    """
    _check_regular(os.stat(path).st_mode)
    # The file may have been replaced in the meantime. Without this flag, opening a pipe waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:
        _check_regular(os.fstat(descriptor).st_mode)
        yield file


def _check_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise NotAFileError(_KINDS.get(stat.S_IFMT(mode), "it is no regular file"))
