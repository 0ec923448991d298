"""KolektorSDD (Tabernik et al., "Segmentation-based deep-learning approach", J. Intelligent Manufacturing 2019).

A folder an item, `kos01` to `kos50`, holds a photograph of each surface, `Part0.jpg`, and its mask `Part0_label.bmp`. A
surface has a defect where its mask marks something. Every item has a surface with a defect, so items cannot be told
apart by defects; the normal surfaces of an item stay together.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jaxunreg.datasets.folders.hashed_file import HashedFile
from jaxunreg.datasets.folders.image_file import GOOD, ImageFile
from jaxunreg.datasets.folders.image_list import ListedFiles
from jaxunreg.datasets.folders.listing import list_folder
from jaxunreg.datasets.folders.mask_pixels import decode_mask
from jaxunreg.datasets.folders.unusable import ImageFileError, Skipped

_ITEM, _MASK = re.compile(r"kos\d+"), "_label"


def is_kolektor(folders: list[Path]) -> bool:
    """Whether the folders in a folder are the items of KolektorSDD."""
    return any(_ITEM.fullmatch(folder.name) and any(folder.glob(f"Part*{_MASK}.*")) for folder in folders)


def find_kolektor(root: Path) -> ListedFiles:
    """The surfaces, with or without a defect as their masks say.

    Args:
      root: the folder of the items.
    """
    pairs: list[tuple[Path, Path]] = []
    found = ListedFiles([], [], [], [], has_split=False)
    for folder in list_folder(root).folders:
        if not _ITEM.fullmatch(folder.name):
            found.reported.append(Skipped(folder, "is not an item of KolektorSDD; expected a name like kos01"))
            continue
        listing = list_folder(folder)
        found.reported.extend(listing.reported)
        masks = {path.stem.removesuffix(_MASK): path for path in listing.images if path.stem.endswith(_MASK)}
        for path in listing.images:
            if path.stem.endswith(_MASK):
                continue
            mask = masks.pop(path.stem, None)
            if mask is None:
                found.failures.append(
                    ImageFileError(path, "has no mask, which tells whether it has a defect", f"{path.stem}{_MASK}.bmp")
                )
            else:
                pairs.append((path, mask))
        found.reported.extend(Skipped(mask, "is a mask without an image") for mask in masks.values())
    with ThreadPoolExecutor() as threads:
        looks = list(threads.map(_marks_something, [mask for _, mask in pairs]))
    for (path, mask), marks in zip(pairs, looks, strict=True):
        if isinstance(marks, ImageFileError):
            found.failures.append(marks)
        elif marks:
            group = path.relative_to(root).with_suffix("").as_posix()
            found.test.append(ImageFile(path, "defect", mask, group))
        else:
            found.train.append(ImageFile(path, GOOD, None, path.parent.name))
    return found


def _marks_something(mask: Path) -> bool | ImageFileError:
    try:
        return bool(decode_mask(HashedFile(mask)).any())
    except ImageFileError as error:
        return error
