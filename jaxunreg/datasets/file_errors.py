"""Errors about files and folders, which carry the path."""

from pathlib import Path
from typing import Any, ClassVar

from jaxunreg.errors import JaxunregError, Wording, in_python
from jaxunreg.text import printable


class FileError(JaxunregError):
    """A file cannot be used. Its path begins the text.

    Args:
      path: the file.
      got: what is wrong with it, as a predicate of the file: `"is empty (0 bytes)"`.
      expected: what would be right.
      advice: what to do.

    Attributes:
      path: as above.

    >>> str(FileError(Path("part/03.png"), "has 3x50 pixels", "at least 4x4", "leave it out"))
    'part/03.png: has 3x50 pixels; expected at least 4x4; leave it out'
    """

    leading: ClassVar[str] = ""

    separator: ClassVar[str] = ": "
    """The text between the path and the reason."""

    def __init__(self, path: Path, got: str, expected: str = "", advice: str = "") -> None:
        self.path = path  # set before the text is made, because it begins with the path
        super().__init__(got, expected, advice)

    @property
    def reason(self) -> str:
        """The reason and the advice, without the path."""
        return super().worded(in_python)

    def worded(self, wording: Wording) -> str:
        """Return the path followed by the reason.

        Args:
          wording: makes text of an argument's name and value.
        """
        return f"{printable(str(self.path))}{self.separator}{super().worded(wording)}"

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), (self.path, self.got, self.expected, self.advice)


class MissingFileError(FileError, FileNotFoundError):
    """A file or folder does not exist.

    >>> str(MissingFileError(Path("parts"), "does not exist", "a folder of images"))
    'parts does not exist; expected a folder of images'
    """

    separator: ClassVar[str] = " "


class NotAFolderError(FileError, NotADirectoryError):
    """There is a file where a folder is expected."""

    separator: ClassVar[str] = " "


class OccupiedFolderError(FileError, FileExistsError):
    """A folder to write already holds something."""

    separator: ClassVar[str] = " "


class FolderError(FileError, ValueError):
    """The contents of a folder cannot be used."""

    separator: ClassVar[str] = " "


class ListError(FileError, ValueError):
    """A list of images whose rows cannot be used.

    >>> raise ListError(Path("list.csv"), "row 3, column 'label': is empty", "good, or the name of a defect")
    Traceback (most recent call last):
    jaxunreg.datasets.file_errors.ListError: list.csv: row 3, column 'label': is empty; expected good, or the name of a
    defect
    """
