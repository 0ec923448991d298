"""One image on disk, and what is known about it."""

from dataclasses import dataclass, field
from pathlib import Path

from jaxunreg.datasets.folders.hashed_file import HashedFile
from jaxunreg.datasets.folders.hashed_masks import hashed_mask

GOOD = "good"
"""The label of an image that is assumed normal. Any other label is the name of a defect."""

UNKNOWN = "unknown"
"""The label of an image that may be normal or not."""


@dataclass(frozen=True)
class ImageFile:
    """One image on disk.

    Attributes:
      path: the file.
      label: `"good"`, the name of the defect, or `"unknown"`.
      mask: the file that marks the defect's pixels, or a folder of several such files, if any.
      group: images of one group are never split over training and test, e.g. all images of one part. Default: the
        file's own stem.
      content: the file's bytes and their hash, which `dataclasses.replace` keeps.
      mask_content: the same for the mask, if any.

    >>> ImageFile(Path("test/crack/007.png"), "crack").group
    '007'
    """

    path: Path
    label: str = GOOD
    mask: Path | None = None
    group: str = ""
    content: HashedFile = field(default=None, repr=False, compare=False, kw_only=True)  # type: ignore[assignment]
    mask_content: HashedFile | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if not self.group:
            object.__setattr__(self, "group", self.path.stem)
        # The content that `replace` passes on belongs to the file only if the path is the same.
        if self.content is None or self.content.path != self.path:
            object.__setattr__(self, "content", HashedFile(self.path))
        if self.mask is None:
            object.__setattr__(self, "mask_content", None)
        elif self.mask_content is None or self.mask_content.path != self.mask:
            object.__setattr__(self, "mask_content", hashed_mask(self.mask))
