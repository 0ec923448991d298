"""Moving or linking images into a folder for each verdict."""

import errno
import os
import shutil
from pathlib import Path
from typing import Literal, TypeAlias

from jaxunreg.files import replacing

How: TypeAlias = Literal["move", "link"]


class Sorting:
    """A sorter that moves or links images into `FOLDER/VERDICT/`, at their path below their own folder.

    No file is ever replaced. If an image with the same name exists, the number of the row is added to the name.

    Args:
      source: the folder of the images.
      target: the folder of the sorted images.
      how: whether to move or to link.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     source = Path(name, "in")
    ...     source.mkdir()
    ...     _ = (source / "a.png").write_bytes(b"image")
    ...     Sorting(source, Path(name, "out"), "move").sort(source / "a.png", "normal", 7).relative_to(name).as_posix()
    'out/normal/a.png'
    """

    def __init__(self, source: Path, target: Path, how: How) -> None:
        self._source, self._target, self._how = source, target, how

    def sort(self, path: Path, verdict: str, number: int) -> Path:
        """Move or link one image. Doing it again, after a crash, changes nothing.

        Args:
          path: the image.
          verdict: the name of the folder.
          number: number of its row.

        Returns:
          Its new path, or the link to it.

        Raises:
          OSError: it is gone, or cannot be moved or linked.
        """
        plain = self._target / verdict / path.relative_to(self._source)
        numbered = plain.with_name(f"{plain.stem}.{number}{plain.suffix}")
        if self._how == "link":
            for target in (plain, numbered):
                if target.is_symlink() and target.readlink() == path.absolute():
                    return target
        elif not path.exists() and (plain.exists() or numbered.exists()):
            return numbered if numbered.exists() else plain
        target = numbered if os.path.lexists(plain) else plain
        target.parent.mkdir(parents=True, exist_ok=True)
        if self._how == "link":
            target.symlink_to(path.absolute())
        else:
            _move(path, target)
        return target


def _move(path: Path, target: Path) -> None:
    try:
        os.rename(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        # On another disk, the copy is whole before the image is removed.
        with replacing(target) as temporary:
            shutil.copy2(path, temporary)
            with temporary.open("rb") as copy:
                os.fsync(copy.fileno())
        path.unlink()
