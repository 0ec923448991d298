"""Errors about files and folders, which carry the path."""

from pathlib import Path
from typing import Any, ClassVar

from jaxunreg.errors import JaxunregError, Wording, in_python
from jaxunreg.text import printable


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

    separator: ClassVar[str] = ": "
    """What stands between the path and what is wrong."""

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
        return f"{printable(str(self.path))}{self.separator}{super().worded(wording)}"

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), (self.path, self.got, self.expected, self.advice)


class MissingFileError(FileError, FileNotFoundError):
    """A file or folder that is not there.

    >>> str(MissingFileError(Path("parts"), "does not exist", "a folder of images"))
    'parts does not exist; expected a folder of images'
    """

    separator: ClassVar[str] = " "


class NotAFolderError(FileError, NotADirectoryError):
    """A file where a folder is expected."""

    separator: ClassVar[str] = " "


class OccupiedFolderError(FileError, FileExistsError):
    """A folder that is to be written, and already holds something."""

    separator: ClassVar[str] = " "


class FolderError(FileError, ValueError):
    """A folder whose contents cannot be used."""

    separator: ClassVar[str] = " "


class ListError(FileError, ValueError):
    """A list of images whose rows cannot be used.

    >>> raise ListError(Path("list.csv"), "row 3, column 'label': is empty", "good, or the name of a defect")
    Traceback (most recent call last):
    jaxunreg.datasets.file_errors.ListError: list.csv: row 3, column 'label': is empty; expected good, or the name of a
    defect
    """
