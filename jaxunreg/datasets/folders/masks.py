"""Which mask belongs to which image, by their names."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jaxunreg.datasets.folders.image_file import ImageFile
from jaxunreg.datasets.folders.listing import Listing, image_stem, is_hidden, list_folder
from jaxunreg.datasets.folders.pixels import SUFFIXES
from jaxunreg.datasets.folders.unusable import ImageFileError, Skipped


def with_masks(
    root: Path, listing: Listing, label: str, elsewhere: dict[str, list[Path]] | None = None
) -> tuple[list[ImageFile], list[ImageFileError]]:
    """The images of one folder, each with its mask, and those that may be an image or a mask."""
    files, failures = [], []
    stems = Counter(path.stem for path in listing.images)
    for path in listing.images:
        masks = [*listing.masks.get(path, []), *(elsewhere or {}).get(path.stem, [])]
        if stems[path.stem] > 1:
            names = sorted(other.name for other in listing.images if other.stem == path.stem)
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
    ground_truth: Path | None, defects: set[str], reported: list[Skipped]
) -> dict[str, dict[str, list[Path]]]:
    """The masks of a tree by the defect's folder and the image's stem; what is none goes to `reported`."""
    masks: dict[str, dict[str, list[Path]]] = {}
    if ground_truth is None:
        return masks
    outer = list_folder(ground_truth)
    reported += [*outer.reported, *out_of_place(outer.images, "mvtec")]
    for folder in outer.folders:
        if folder.name not in defects:
            reported.append(Skipped(folder, f"holds masks, but there is no folder test/{folder.name}"))
            continue
        found = list_folder(folder)
        of_stem = masks.setdefault(folder.name, {})
        # Here all images are masks, whether or not their names say so; those that do lie beside no image.
        reported += [skipped for skipped in found.reported if skipped.path.suffix.lower() not in SUFFIXES]
        reported += out_of_place(found.folders, "mvtec")
        images = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        for path in sorted(path for path in images if not is_hidden(path.name)):
            of_stem.setdefault(image_stem(path) or path.stem, []).append(path)
    return masks


def out_of_place(paths: Sequence[Path], layout: str) -> list[Skipped]:
    """Files and folders that a layout does not have, as left out."""
    return [Skipped(path, f"has no place in the layout {layout}, see load_folder") for path in paths]
