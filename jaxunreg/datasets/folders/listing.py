"""The contents of a folder, by the names of its files: images, masks, subfolders and others."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from jaxunreg.datasets.folders.pixels import SUFFIXES
from jaxunreg.datasets.folders.unusable import Skipped

_MASK_ENDINGS = ("_mask", "-mask", "_gt")

GROUND_TRUTH = ("ground_truth", "ground-truth", "ground truth", "groundtruth", "gt")
"""Names of folders of masks, in lower case."""

_OTHER_MASK_FOLDERS = ("mask", "masks", "labels", "annotations", "segmentations")

_MASKS_OF = re.compile(r"(.+)[_ -](masks?|gt|ground_?truth|labels?|annotations?)")


class Listing(NamedTuple):
    """One folder without its subfolders' contents, in the order of the names."""

    images: list[Path]
    masks: dict[Path, list[Path]]  # the masks beside each image that has any
    folders: list[Path]
    reported: list[Skipped]


def list_folder(folder: Path) -> Listing:
    """Sort a folder's entries into images, masks, subfolders and others."""
    images, folders, reported = [], [], []
    for path in sorted(folder.iterdir()):
        if is_hidden(path.name):
            continue
        if path.is_dir():
            folders.append(path)
        elif path.suffix.lower() in SUFFIXES:
            images.append(path)
        else:
            reported.append(Skipped(path, f"is not an image by its name; expected one of {', '.join(SUFFIXES)}"))
    named: dict[str, list[Path]] = {}
    for path in images:
        named.setdefault(stem_of(path), []).append(path)
    masks: dict[Path, list[Path]] = {}
    for path in images.copy():
        base = image_stem(path)
        if base is None:
            continue
        images.remove(path)
        if base not in named:
            reported.append(Skipped(path, f"is named as a mask, but there is no image {base!r} beside it"))
        for image in named.get(base, ()):
            masks.setdefault(image, []).append(path)
    return Listing(images, masks, folders, reported)


def image_stem(mask: Path) -> str | None:
    """Return the stem of the image that a mask belongs to, if the file's name is that of a mask.

    >>> image_stem(Path("ground_truth/crack/007_mask.png")), image_stem(Path("test/crack/007.png"))
    ('007', None)
    """
    stem = stem_of(mask)
    for ending in _MASK_ENDINGS:
        if stem.lower().endswith(ending) and len(stem) > len(ending):
            return stem[: -len(ending)]
    return None


def stem_of(path: Path) -> str:
    r"""Return a file's name without its suffix, in one spelling: some systems write an accent as a separate letter.

    >>> stem_of(Path("cafe\u0301.png")) == stem_of(Path("caf\u00e9.tif"))
    True
    """
    return unicodedata.normalize("NFC", path.stem)


def stem_of_folder(folder: Path) -> str:
    """The name of a folder in the spelling of `stem_of`; a dot in it begins no suffix."""
    return unicodedata.normalize("NFC", folder.name)


def is_named_as_masks(folder: Path, beside: Iterable[Path]) -> bool:
    """Return whether a folder holds masks, by its name in any case, and by the names of the folders beside it.

    >>> is_named_as_masks(Path("Ground_Truth"), []), is_named_as_masks(Path("bad_masks"), [])
    (True, True)
    >>> is_named_as_masks(Path("solder_mask"), [Path("dent")]), is_named_as_masks(Path("dent_mask"), [Path("dent")])
    (False, True)
    """
    name = folder.name.lower()
    if name in GROUND_TRUTH or name in _OTHER_MASK_FOLDERS or name.endswith(("_masks", "-masks", " masks")):
        return True
    of = _MASKS_OF.fullmatch(name)
    return of is not None and of[1] in {other.name.lower() for other in beside}


def holds_images(folder: Path) -> bool:
    """Return whether there is an image below a folder, by the names."""
    return any(path.suffix.lower() in SUFFIXES and not is_hidden(path.name) for path in folder.rglob("*"))


def is_hidden(name: str) -> bool:
    """Return whether a file is one that an operating system hides or leaves behind, such as `._007.png`."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")
