"""Files that cannot be used: the error that names one, and the record of one that was left out."""

from pathlib import Path
from typing import ClassVar, NamedTuple

from jaxunreg.errors import JaxunregError, Wording, in_python


class Skipped(NamedTuple):
    """A file or folder that was left out, and why."""

    path: Path
    reason: str


class ImageFileError(JaxunregError, ValueError):
    """A file that cannot be used as an image or as a mask.

    Args:
      path: the file.
      got: what is wrong with it, as a predicate of the file: `"is empty (0 bytes)"`.
      expected: what would have been right.
      advice: what to do.

    Attributes:
      path: as above.

    >>> raise ImageFileError(Path("part/03.png"), "is empty (0 bytes)", advice="copy it again")
    Traceback (most recent call last):
    jaxunreg.datasets.folders.unusable.ImageFileError: part/03.png: is empty (0 bytes); copy it again
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

    def __reduce__(self) -> tuple[type, tuple]:
        return type(self), (self.path, self.got, self.expected, self.advice)
