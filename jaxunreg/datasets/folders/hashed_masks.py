"""Several masks of one image, in a folder of their own."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool

from jaxunreg.datasets.folders.hashed_file import HashedFile
from jaxunreg.datasets.folders.listing import is_hidden
from jaxunreg.datasets.folders.mask_pixels import decode_mask
from jaxunreg.datasets.folders.pixels import SUFFIXES
from jaxunreg.datasets.folders.unusable import ImageFileError


class HashedMasks(HashedFile):
    """The masks of an image in a folder, as MVTec LOCO has them: a pixel is marked where any of them marks it.

    Args:
      path: the folder.
      sha256: its hash where it is known, over the hashes of its files.
    """

    @property
    def parts(self) -> list[HashedFile]:
        """The masks, in the order of their names.

        Raises:
          ImageFileError: there is none.
        """
        images = (path for path in self.path.iterdir() if path.suffix.lower() in SUFFIXES)
        found = [HashedFile(path) for path in sorted(images) if not is_hidden(path.name)]
        if not found:
            raise ImageFileError(self.path, "holds no mask", f"files with a suffix among {', '.join(SUFFIXES)}")
        return found

    def _contents(self) -> bytes:
        """Return the hashes of all files, which stand for their bytes."""
        return "".join(part.sha256 for part in self.parts).encode()


def hashed_mask(path: Path) -> HashedFile:
    """The file of a mask, or the folder of several."""
    return HashedMasks(path) if path.is_dir() else HashedFile(path)


def decode_masks(content: HashedFile) -> Bool[np.ndarray, "height width"]:
    """The pixels that the mask of an image, or any of several, marks.

    Raises:
      ImageFileError: the errors of `decode_mask`; masks of several sizes.
    """
    if not isinstance(content, HashedMasks):
        return decode_mask(content)
    content.read()
    marked = None
    for part in content.parts:
        mask = decode_mask(part)
        if marked is not None and mask.shape != marked.shape:
            raise ImageFileError(part.path, f"has {mask.shape[0]}x{mask.shape[1]} pixels",
                                 f"{marked.shape[0]}x{marked.shape[1]}, as the masks before it have")  # fmt: skip
        marked = mask if marked is None else marked | mask
    assert marked is not None  # for mypy: there is a part at least
    return marked
