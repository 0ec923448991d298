"""The masks of a command line: the ignored area, and named regions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from jaxunreg.cli.options import CommandError
from jaxunreg.datasets.folders.hashed_file import HashedFile
from jaxunreg.datasets.folders.mask_pixels import decode_mask
from jaxunreg.datasets.folders.pixels import SUFFIXES
from jaxunreg.inspection.region_to_tell import RegionToTell
from jaxunreg.text import is_utf8


def read_ignored(path: Path) -> Bool[np.ndarray, "height width"]:
    """Read the mask of the ignored area: one file, or the union of all masks in a folder.

    Raises:
      CommandError: there is no mask, or masks have several sizes.
      ImageFileError: a mask cannot be read.
    """
    files = [path]
    if path.is_dir():
        inside = (file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
        files = sorted(file for file in inside if not file.name.startswith("."))
    if not files or not path.exists():
        raise CommandError(
            f"--ignore {path}, which {'holds no mask' if path.exists() else 'does not exist'}",
            "a mask, white where the image does not count, or a folder of masks",
            field="ignore",
        )
    masks = [decode_mask(HashedFile(file)) for file in files]
    sizes = sorted({mask.shape for mask in masks})
    if len(sizes) > 1:
        found = ", ".join(f"{height}x{width}" for height, width in sizes)
        raise CommandError(
            f"--ignore {path} with masks of {found}", "masks of one size", "draw all masks over one image", "ignore"
        )
    return np.logical_or.reduce(masks)


def read_regions(texts: Sequence[str]) -> Mapping[str, RegionToTell]:
    """Read named regions from `NAME=MASK` or `NAME=MASK:RATE`.

    Raises:
      CommandError: a text has neither form, or two regions have the same name.
      ImageFileError: a mask cannot be read.
    """
    found: dict[str, RegionToTell] = {}
    for text in texts:
        name, equals, rest = text.partition("=")
        path, rate = _path_and_rate(rest)
        if not equals or not name.strip() or not is_utf8(name) or not path:
            raise CommandError(
                f"--region {text}", "NAME=MASK or NAME=MASK:RATE, e.g. thread=thread.png:0.01", field="region"
            )
        if name in found:
            raise CommandError(f"--region {name} twice", "names that differ", "rename one", "region")
        if not Path(path).is_file():
            raise CommandError(f"--region {text}, but there is no file {path}", "a mask", "check the path", "region")
        found[name] = RegionToTell(decode_mask(HashedFile(Path(path))), rate)
    return found


def _path_and_rate(text: str) -> tuple[str, float | None]:
    """Return a path, and the rate after its last colon.

    >>> _path_and_rate("a.png:0.01"), _path_and_rate("a:b.png")
    (('a.png', 0.01), ('a:b.png', None))
    """
    path, colon, rate = text.rpartition(":")
    try:
        return (path, float(rate)) if colon else (text, None)
    except ValueError:
        return text, None
