"""Files that cannot be used: an error that names the file, and a record of a file that was left out."""

from pathlib import Path
from typing import NamedTuple

from jaxunreg.datasets.file_errors import FileError


class Skipped(NamedTuple):
    """A file or folder that was left out, and why."""

    path: Path
    reason: str


class ImageFileError(FileError, ValueError):
    """A file cannot be used as an image or as a mask.

    >>> raise ImageFileError(Path("part/03.png"), "is empty (0 bytes)", advice="copy it again")
    Traceback (most recent call last):
    jaxunreg.datasets.folders.unusable.ImageFileError: part/03.png: is empty (0 bytes); copy it again
    """
