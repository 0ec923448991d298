"""Masks and the images they belong to, matched by name."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jaxunreg.datasets.file_errors import FolderError
from jaxunreg.datasets.folders.image_file import ImageFile
from jaxunreg.datasets.folders.listing import (
    Listing,
    holds_images,
    image_stem,
    is_hidden,
    list_folder,
    stem_of,
    stem_of_folder,
)
from jaxunreg.datasets.folders.pixels import SUFFIXES
from jaxunreg.datasets.folders.unusable import ImageFileError, Skipped


def with_masks(
    root: Path, listing: Listing, label: str, elsewhere: dict[str, list[Path]] | None = None
) -> tuple[list[ImageFile], list[ImageFileError]]:
    """Return the images of one folder with their masks, and the files that may be an image or a mask."""
    files, failures = [], []
    stems = Counter(stem_of(path) for path in listing.images)
    for path in listing.images:
        masks = [*listing.masks.get(path, []), *(elsewhere or {}).get(stem_of(path), [])]
        if stems[stem_of(path)] > 1:
            names = sorted(other.name for other in listing.images if stem_of(other) == stem_of(path))
            failures.append(
                ImageFileError(
                    path,
                    f"shares its name with another image ({', '.join(names)})",
                    advice="call a mask NAME_mask.png",
                )
            )
        elif len(masks) > 1:
            names = sorted(mask.relative_to(root).as_posix() for mask in masks)
            failures.append(ImageFileError(path, f"has {len(masks)} masks ({', '.join(names)})", "one at most"))
        else:
            group = path.relative_to(root).with_suffix("").as_posix()
            files.append(ImageFile(path, label, masks[0] if masks else None, group))
    without = set(elsewhere or {}) - set(stems)
    for stem in sorted(without):
        failures += [
            ImageFileError(mask, f"is a mask of an image {stem!r}, which does not exist")
            for mask in (elsewhere or {})[stem]
        ]
    return files, failures


def masks_below(
    ground_truth: Path | None, defects: Sequence[Path], reported: list[Skipped]
) -> dict[str, dict[str, list[Path]]]:
    """Return the masks of a tree by the defect's folder and the image's stem. Other files go to `reported`.

    Upper and lower case of the folders do not matter.

    Raises:
      FolderError: there are masks, but none is in a folder with the name of a defect.
    """
    masks: dict[str, dict[str, list[Path]]] = {}
    if ground_truth is None:
        return masks
    outer = list_folder(ground_truth)
    reported += [*outer.reported, *out_of_place(outer.images, "mvtec")]
    # An exact name takes precedence over one in another case.
    names = {defect.name.lower(): defect.name for defect in defects} | {defect.name: defect.name for defect in defects}
    for folder in outer.folders:
        defect = names.get(folder.name, names.get(folder.name.lower()))
        if defect is None:
            reported.append(Skipped(folder, f"holds masks, but there is no folder test/{folder.name}"))
            continue
        found = list_folder(folder)
        of_stem = masks.setdefault(defect, {})
        # Here all images are masks, whether or not their names say so, and no mask lies beside its image.
        reported += [skipped for skipped in found.reported if skipped.path.suffix.lower() not in SUFFIXES]
        for inner in found.folders:  # MVTec LOCO has several masks of an image, in a folder with its name.
            if holds_images(inner):
                of_stem.setdefault(stem_of_folder(inner), []).append(inner)
            else:
                reported += out_of_place([inner], "mvtec")
        images = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        for path in sorted(path for path in images if not is_hidden(path.name)):
            of_stem.setdefault(image_stem(path) or stem_of(path), []).append(path)
    if not any(masks.values()) and holds_images(ground_truth):
        raise FolderError(
            ground_truth,
            "holds masks, and none in a folder that is named as one of images",
            f"{ground_truth.name}/DEFECT/NAME_mask.png, with DEFECT among {', '.join(path.name for path in defects)}",
            "rename its folders",
        )
    return masks


def out_of_place(paths: Sequence[Path], layout: str) -> list[Skipped]:
    """Report files and folders that a layout does not have as left out."""
    return [Skipped(path, f"has no place in the layout {layout}, see load_folder") for path in paths]
