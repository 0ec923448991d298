"""The layouts of folders that are common in inspection, recognised without a configuration file."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxunreg.datasets.file_errors import FolderError
from jaxunreg.datasets.folders.image_file import GOOD, ImageFile
from jaxunreg.datasets.folders.image_list import ListedFiles, read_list
from jaxunreg.datasets.folders.kolektor import find_kolektor, is_kolektor
from jaxunreg.datasets.folders.listing import GROUND_TRUTH, Listing, holds_images, is_named_as_masks, list_folder
from jaxunreg.datasets.folders.magnetic_tile import NORMAL_FOLDER, find_tiles
from jaxunreg.datasets.folders.masks import masks_below, out_of_place, with_masks
from jaxunreg.datasets.folders.unusable import ImageFileError, Skipped
from jaxunreg.datasets.folders.visa import find_visa, is_visa

NORMAL_NAMES = ("good", "normal", "ok")

ABNORMAL_NAMES = ("bad", "defect", "defects", "defective", "abnormal", "anomalous", "anomaly", "ng", "nok", "ko")

_TREE_FOLDERS = ("train", "test")

# Of MVTec LOCO, which has normal images for a threshold in `validation`. A detector holds out images of its own.
_LOCO_FOLDERS, _VALIDATION = ("logical_anomalies", "structural_anomalies"), "validation"


class Found(NamedTuple):
    """The files of a folder.

    Attributes:
      layout: its name.
      train: normal images.
      test: normal images and defects.
      reported: entries that are not images.
      failures: images that cannot be used.
      has_split: whether training and test images lie in separate folders.
    """

    layout: str
    train: list[ImageFile]
    test: list[ImageFile]
    reported: list[Skipped]
    failures: list[ImageFileError]
    has_split: bool = False


def find_layout(root: Path) -> Found:
    """Recognise a folder's layout by the names in it, and list its files.

    Raises:
      FolderError: the layout is none of those that `load_folder` knows.
    """
    listing = list_folder(root)
    folders = {folder.name.lower(): folder for folder in listing.folders}
    if NORMAL_FOLDER in (folder.name for folder in listing.folders):
        tiles = find_tiles(root)
        return Found("magnetic-tile", tiles.clean, tiles.others, [*listing.reported, *tiles.reported], tiles.failures)
    if is_visa(root):
        return _listed("visa", find_visa(root))
    if is_kolektor(listing.folders):
        return _listed("kolektor", find_kolektor(root))
    normal = [folder for name, folder in folders.items() if name in NORMAL_NAMES]
    if "train" in folders or normal:
        alike = [folder for folder in listing.folders if folder not in folders.values()]
        if alike:
            both = [folder for folder in listing.folders if folder.name.lower() == alike[0].name.lower()]
            raise FolderError(
                root,
                f"holds {_names(both)}, which differ only in upper and lower case",
                "one of them",
                "rename one, or move their images into one",
            )
    if "train" in folders:
        return _find_tree(root, listing, folders)
    if normal:
        return _find_two_folders(root, listing, folders, normal)
    if not listing.images:
        raise FolderError(
            root,
            f"holds no image and {_names(listing.folders)}",
            f"images, or `train/good`, or a folder called {_either(NORMAL_NAMES)} and one called "
            f"{_either(ABNORMAL_NAMES)}",
            "lay the images out in one of these ways",
        )
    files, failures = with_masks(root, listing, GOOD)
    return Found("plain", files, [], [*listing.reported, *out_of_place(listing.folders, "plain")], failures)


def find_list(file: Path) -> Found:
    """List the files that a CSV file names; see `read_list`."""
    return _listed("list", read_list(file, file.parent))


def _listed(layout: str, found: ListedFiles) -> Found:
    return Found(layout, found.train, found.test, found.reported, found.failures, found.has_split)


def _find_tree(root: Path, listing: Listing, folders: dict[str, Path]) -> Found:
    ground_truth, others = _ground_truth(root, listing)
    is_loco = "test" in folders and any((folders["test"] / name).is_dir() for name in _LOCO_FOLDERS)
    layout = "mvtec-loco" if is_loco else "mvtec"
    for_training = [
        folders[name] for name in ("train", _VALIDATION) if name == "train" or (is_loco and name in folders)
    ]
    has_place = (*_TREE_FOLDERS, *(folder.name.lower() for folder in for_training))
    reported = [*listing.reported, *out_of_place(listing.images, layout)]
    reported += out_of_place([folder for folder in others if folder.name.lower() not in has_place], layout)
    train, failures = [], []
    for top, folder in [(outer, inner) for outer in for_training for inner in (outer, *list_folder(outer).folders)]:
        if folder != top and folder.name.lower() not in NORMAL_NAMES:
            raise FolderError(
                folder,
                f"is a training folder called {folder.name!r}",
                f"normal images only, in a folder called {_either(NORMAL_NAMES)}",
                "move it to `test`, or rename it",
            )
        found = list_folder(folder)
        reported += found.reported
        if folder != top:
            reported += out_of_place(found.folders, layout)
        files, failed = with_masks(root, found, GOOD)
        train += files
        failures += failed
    test: list[ImageFile] = []
    if "test" not in folders:
        return Found(layout, train, test, reported, failures)
    outer = list_folder(folders["test"])
    reported += [*outer.reported, *out_of_place(outer.images, layout)]
    _refuse_masks(folders["test"], outer.folders)
    masks = masks_below(ground_truth, outer.folders, reported)
    for folder in outer.folders:
        label = GOOD if folder.name.lower() in NORMAL_NAMES else folder.name
        found = list_folder(folder)
        reported += [*found.reported, *out_of_place(found.folders, layout)]
        files, failed = with_masks(root, found, label, masks.pop(folder.name, {}))
        test += files
        failures += failed
    return Found(layout, train, test, reported, failures, has_split=True)


def _find_two_folders(root: Path, listing: Listing, folders: dict[str, Path], normal: list[Path]) -> Found:
    if len(normal) > 1:
        raise FolderError(root, f"holds {_names(normal)}", "one folder of normal images", "move their images into one")
    ground_truth, others = _ground_truth(root, listing)
    reserved = [folder for name, folder in folders.items() if name == "test"]
    if reserved:
        raise FolderError(
            root,
            f"holds {_names([*normal, *reserved])}",
            "`train` beside `test`",
            "rename the folders",
        )
    reported = [*listing.reported, *out_of_place(listing.images, "normal-abnormal")]
    defects = [folder for folder in others if folder not in normal]
    masks = masks_below(ground_truth, others, reported)
    train: list[ImageFile] = []
    test: list[ImageFile] = []
    failures: list[ImageFileError] = []
    for folder in (*normal, *defects):
        label = GOOD if folder in normal else folder.name
        found = list_folder(folder)
        reported += [*found.reported, *out_of_place(found.folders, "normal-abnormal")]
        files, failed = with_masks(root, found, label, masks.get(folder.name, {}))
        (train if folder in normal else test).extend(files)
        failures += failed
    return Found("normal-abnormal", train, test, reported, failures)


def _ground_truth(root: Path, listing: Listing) -> tuple[Path | None, list[Path]]:
    """Return the folder of masks, if any, and the other folders."""
    found = [folder for folder in listing.folders if folder.name.lower() in GROUND_TRUTH]
    if len(found) > 1:
        raise FolderError(root, f"holds {_names(found)}", "one folder of masks", "move their masks into one")
    others = [folder for folder in listing.folders if folder not in found]
    _refuse_masks(root, others)
    return (found[0] if found else None), others


def _refuse_masks(root: Path, folders: Sequence[Path]) -> None:
    """Refuse folders whose names say that they hold masks, so that they are not taken for kinds of defects."""
    found = [folder for folder in folders if is_named_as_masks(folder, folders) and holds_images(folder)]
    if found:
        raise FolderError(
            root,
            f"holds {_names(found)}",
            "masks beside their images as NAME_mask.png, or in `ground_truth/DEFECT` with the name of the image",
            "move the masks, or rename the folders if they hold no masks",
        )


def _names(folders: Sequence[Path]) -> str:
    return "the folders " + ", ".join(folder.name for folder in folders) if folders else "no folder"


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)
