"""Errors about files: one that cannot be used, and one that is not there."""

from pathlib import Path
from typing import Any, ClassVar

from jaxunreg.errors import JaxunregError, Wording, in_python


class FileError(JaxunregError):
    """A file that cannot be used, whose path begins the text.

    Args:
      path: the file.
      got: what is wrong with it, as a predicate of the file: `"is empty (0 bytes)"`.
      expected: what would have been right.
      advice: what to do.

    Attributes:
      path: as above.

    >>> str(FileError(Path("part/03.png"), "has 3x50 pixels", "at least 4x4", "leave it out"))
    'part/03.png: has 3x50 pixels; expected at least 4x4; leave it out'
    """

    leading: ClassVar[str] = ""

    def __init__(self, path: Path, got: str, expected: str = "", advice: str = "") -> None:
        self.path = path  # before the text is made, which begins with it
        super().__init__(got, expected, advice)

    @property
    def reason(self) -> str:
        """What is wrong with the file and what to do, without its path."""
        return super().worded(in_python)

    def worded(self, wording: Wording) -> str:
        """The path, and then what is wrong with the file.

        Args:
          wording: from an argument's name and value to text.
        """
        return f"{self.path}: {super().worded(wording)}"

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), (self.path, self.got, self.expected, self.advice)


class MissingFileError(JaxunregError, FileNotFoundError):
    """A file or folder that is not there; `got` is a sentence about it."""

    leading: ClassVar[str] = ""
