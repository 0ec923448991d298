"""A folder of images as a data set, in the layouts that are common in inspection, without a configuration file."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxunreg.datasets.folders.checking import check_files
from jaxunreg.datasets.folders.image_file import GOOD, ImageFile
from jaxunreg.datasets.folders.image_files import Color, ImageFiles, OnError
from jaxunreg.datasets.folders.listing import Listing, image_stem, is_hidden, list_folder
from jaxunreg.datasets.folders.magnetic_tile import NORMAL_FOLDER, find_tiles
from jaxunreg.datasets.folders.pixels import SUFFIXES
from jaxunreg.datasets.folders.unusable import Skipped

NORMAL_NAMES = ("good", "normal", "ok")

ABNORMAL_NAMES = ("bad", "defect", "defects", "defective", "abnormal", "anomalous", "anomaly", "ng", "nok")

HELD_OUT = 0.25
"""The share of the normal groups in the test split, where there are defects but no split on disk."""

_logger = logging.getLogger("jaxunreg.datasets")


@dataclass(frozen=True)
class FolderDataset:
    """A training and a test split of the images in a folder.

    Attributes:
      name: the folder's name.
      directory: the folder.
      layout: `"mvtec"`, `"plain"`, `"normal-abnormal"` or `"magnetic-tile"`.
      train: normal images only.
      test: normal images and defects; may be empty, or hold either only.
      channels: 1 or 3, of all images.
      bits: the most bits of any image: 8, 16, or 32 for floating point.
      skipped: what was left out, and why.
      split: one sentence on how training and test images were told apart.
    """

    name: str
    directory: Path
    layout: str
    train: ImageFiles
    test: ImageFiles
    channels: int
    bits: int
    skipped: tuple[Skipped, ...]
    split: str

    def describe(self) -> dict[str, Any]:
        """What a run's results should say of its data, for JSON; paths are relative to the folder."""
        return {
            "name": self.name,
            "layout": self.layout,
            "split": self.split,
            "color": "gray" if self.channels == 1 else "rgb",
            "channels": self.channels,
            "bits": self.bits,
            "train": _describe(self.train),
            "test": _describe(self.test),
            "skipped": [
                {"path": path.relative_to(self.directory).as_posix(), "reason": reason} for path, reason in self.skipped
            ],
        }


def _describe(images: ImageFiles) -> dict[str, Any]:
    return {
        "images": len(images),
        "labels": dict(sorted(Counter(images.labels).items())),
        "groups": len({file.group for file in images.files}),
        "masks": sum(file.mask is not None and file.label != GOOD for file in images.files),
        "smallest": images.sizes.min(axis=0).tolist() if len(images) else None,
        "largest": images.sizes.max(axis=0).tolist() if len(images) else None,
        "fingerprint": images.fingerprint,
    }


def load_folder(
    directory: str | Path,
    *,
    color: Color = "auto",
    on_error: OnError = "raise",
    min_size: int | None = None,
    test_fraction: float | None = None,
    fallback_fraction: float | None = None,
    seed: int = 0,
    progress: bool = True,
) -> FolderDataset:
    """Find out how a folder is laid out, look at every image in it once, and split it.

    | layout | what is in the folder | training | test |
    |---|---|---|---|
    | mvtec | `train/good`, `test/good`, `test/DEFECT`, `ground_truth/DEFECT/NAME_mask.png` | `train` | `test` |
    | normal-abnormal | `good` (normal, ok), and `bad` (defect, ng, ...) or a folder for each defect | normal | rest |
    | plain | images, all assumed normal | all | none, unless `test_fraction` is given |
    | magnetic-tile | `MT_Free`, `MT_Crack`, ... with `expA_num_B.jpg` and mask `expA_num_B.png` | see below | rest |

    Masks may also lie beside their images as `NAME_mask`, `NAME-mask` or `NAME_gt`. Upper and lower case do not
    matter. Where the split is not on disk, a share of the normal *groups* goes to the test split, see `held_out`;
    a group is an image, and for the magnetic tiles a tile with all its photographs. There the tiles of which any
    photograph shows a defect are test tiles with all their photographs, so that no tile is in both splits.

    PNG, JPEG, BMP and TIFF with 8 or 16 bits, gray or RGB, of any sizes, are read; floating-point TIFF in [0, 1] as
    well. Gray or RGB is one choice for the data set. Hidden files are ignored; a file that is no image by its name, a
    folder that is no part of the layout, what is named as a mask without an image beside it, and a mask that marks
    nothing of a defect are listed in `skipped` whatever `on_error` says.

    Args:
      directory: the folder.
      color: `"gray"`, `"rgb"`, or `"auto"`: gray if all images are, be they stored as RGB or not.
      on_error: what to do with an image that cannot be used: unreadable, cut short, empty, with NaN, too small, a
        decompression bomb, with two masks, a mask of another size or a mask that marks something of a normal image;
        or with a file of `ground_truth` that belongs to no image. `"raise"` raises, `"skip"` leaves it out, lists it
        in `skipped` and logs a warning.
      min_size: the least height and width, in pixels; default: no limit.
      test_fraction: the share of the normal groups for the test split, in [0, 1); default: 0.25 where there are
        defects to test on, else 0. Not for a tree that has its own test split.
      fallback_fraction: the same for a folder of which it is not known whether it has a split, which then counts.
      seed: of the choice of these groups.
      progress: whether to show a progress bar if it takes more than a few seconds.

    Returns:
      The data set.

    Raises:
      FileNotFoundError: there is no such folder.
      NotADirectoryError: it is a file.
      ImageFileError: an image cannot be used, and `on_error` is `"raise"`.
      ValueError: the layout is none of these, there is no (normal) image, or an argument is out of range.

    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for i in range(3):
    ...         Image.new("L", (8, 6), i).save(Path(folder) / f"{i}.png")
    ...     data = load_folder(folder)
    ...     data.layout, data.train[2].shape, int(data.train[2].max())
    ('plain', (6, 8, 1), 2)
    """
    root = Path(directory).expanduser().resolve()
    if not root.exists():
        raise FileNotFoundError(f"{root} does not exist; expected a folder of images")
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is a file; expected a folder of images")
    found = _find(root)
    if not found.train:
        raise ValueError(
            f"{root} holds no normal image to train on (layout {found.layout}); expected files with a suffix among "
            f"{', '.join(SUFFIXES)}"
        )
    for skipped in found.reported:
        _logger.warning("%s: %s", *skipped)
    if found.has_split and test_fraction is not None:
        raise ValueError(f"test_fraction is {test_fraction}, but {root} has a folder `test`; leave test_fraction out")
    checked = check_files(
        [*found.train, *found.test],
        color=color,
        on_error=on_error,
        min_size=min_size,
        progress=progress,
        failures=found.failures,
    )
    images = ImageFiles(checked.files, checked.sizes, checked.channels, checked.bits)
    for_training = {file.path for file in found.train}
    is_train = np.array([file.path in for_training for file in images.files], bool)
    if not is_train.any():
        raise ValueError(f"{root}: no normal image is left, all {len(found.train)} were skipped")
    split = "as on disk"
    if not found.has_split:
        default = HELD_OUT if found.test else 0.0
        fraction = next(f for f in (test_fraction, fallback_fraction, default) if f is not None)
        unit = "tiles without a defect" if found.layout == "magnetic-tile" else "normal images"
        split = f"a share of {fraction:g} of the {unit} is held out for the test, seed {seed}"
        _, out = images.select(is_train).split(fraction, seed=seed)
        held = {file.path for file in out.files}
        is_train &= np.array([file.path not in held for file in images.files], bool)
    if found.layout == "magnetic-tile":
        split += "; a tile with a defect in any photograph is a test tile; no tile is in both splits"
    _logger.info("%s: layout %s; %d images for training, %d for the test: %s", root, found.layout,
                 is_train.sum(), (~is_train).sum(), split)  # fmt: skip
    return FolderDataset(
        name=root.name,
        directory=root,
        layout=found.layout,
        train=images.select(is_train),
        test=images.select(~is_train),
        channels=images.channels,
        bits=images.bits,
        skipped=(*found.reported, *checked.skipped),
        split=split,
    )


class _Found(NamedTuple):
    layout: str
    train: list[ImageFile]  # normal images
    test: list[ImageFile]
    reported: list[Skipped]  # what is no image
    failures: list[Skipped]  # images that cannot be used
    has_split: bool = False


_TREE_FOLDERS = ("train", "test", "ground_truth")


def _find(root: Path) -> _Found:
    listing = list_folder(root)
    folders = {folder.name.lower(): folder for folder in listing.folders}
    if NORMAL_FOLDER in (folder.name for folder in listing.folders):
        tiles = find_tiles(root)
        return _Found("magnetic-tile", tiles.clean, tiles.others, [*listing.reported, *tiles.reported], tiles.failures)
    normal = [folder for name, folder in folders.items() if name in NORMAL_NAMES]
    if "train" in folders or normal:
        alike = [folder for folder in listing.folders if folder not in folders.values()]
        if alike:
            both = [folder for folder in listing.folders if folder.name.lower() == alike[0].name.lower()]
            raise ValueError(
                f"{root} holds {_names(both)}, which differ in upper and lower case alone; expected one of them; "
                "rename one, or move their images into one"
            )
    if "train" in folders:
        return _find_tree(root, listing, folders)
    if normal:
        return _find_two_folders(root, listing, folders, normal)
    if not listing.images:
        raise ValueError(
            f"{root} holds no image and {_names(listing.folders)}; expected images, or `train/good`, or a folder "
            f"called {_either(NORMAL_NAMES)} and one called {_either(ABNORMAL_NAMES)}"
        )
    files, failures = _with_masks(root, listing, GOOD)
    return _Found("plain", files, [], [*listing.reported, *_unexpected(listing.folders, "plain")], failures)


def _find_tree(root: Path, listing: Listing, folders: dict[str, Path]) -> _Found:
    reported = [*listing.reported, *_unexpected(listing.images, "mvtec")]
    reported += _unexpected([folder for name, folder in folders.items() if name not in _TREE_FOLDERS], "mvtec")
    train, failures = [], []
    inner = list_folder(folders["train"])
    for folder in (folders["train"], *inner.folders):
        if folder != folders["train"] and folder.name.lower() not in NORMAL_NAMES:
            raise ValueError(
                f"{folder} is a training folder called {folder.name!r}; expected normal images only, in a folder "
                f"called {_either(NORMAL_NAMES)}"
            )
        found = list_folder(folder)
        reported += found.reported
        if folder != folders["train"]:
            reported += _unexpected(found.folders, "mvtec")
        files, failed = _with_masks(root, found, GOOD)
        train += files
        failures += failed
    test: list[ImageFile] = []
    if "test" not in folders:
        return _Found("mvtec", train, test, reported, failures)
    outer = list_folder(folders["test"])
    reported += [*outer.reported, *_unexpected(outer.images, "mvtec")]
    masks = _tree_masks(folders.get("ground_truth"), {folder.name for folder in outer.folders}, reported)
    for folder in outer.folders:
        label = GOOD if folder.name.lower() in NORMAL_NAMES else folder.name
        found = list_folder(folder)
        reported += [*found.reported, *_unexpected(found.folders, "mvtec")]
        files, failed = _with_masks(root, found, label, masks.pop(folder.name, {}))
        test += files
        failures += failed
    return _Found("mvtec", train, test, reported, failures, has_split=True)


def _tree_masks(
    ground_truth: Path | None, defects: set[str], reported: list[Skipped]
) -> dict[str, dict[str, list[Path]]]:
    """The masks of a tree by the defect's folder and the image's stem; what is none goes to `reported`."""
    masks: dict[str, dict[str, list[Path]]] = {}
    if ground_truth is None:
        return masks
    outer = list_folder(ground_truth)
    reported += [*outer.reported, *_unexpected(outer.images, "mvtec")]
    for folder in outer.folders:
        if folder.name not in defects:
            reported.append(Skipped(folder, f"holds masks, but there is no folder test/{folder.name}"))
            continue
        found = list_folder(folder)
        of_stem = masks.setdefault(folder.name, {})
        # Here all images are masks, whether or not their names say so; those that do lie beside no image.
        reported += [skipped for skipped in found.reported if skipped.path.suffix.lower() not in SUFFIXES]
        reported += _unexpected(found.folders, "mvtec")
        images = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
        for path in sorted(path for path in images if not is_hidden(path.name)):
            of_stem.setdefault(image_stem(path) or path.stem, []).append(path)
    return masks


def _find_two_folders(root: Path, listing: Listing, folders: dict[str, Path], normal: list[Path]) -> _Found:
    if len(normal) > 1:
        raise ValueError(f"{root} holds {_names(normal)}; expected one folder of normal images")
    reserved = [folder for name, folder in folders.items() if name in ("test", "masks", "mask")]
    if reserved:
        raise ValueError(
            f"{root} holds {_names([*normal, *reserved])}; expected `train` beside `test`, and masks beside their "
            "images as NAME_mask.png or in `ground_truth/DEFECT`"
        )
    reported = [*listing.reported, *_unexpected(listing.images, "normal-abnormal")]
    defects = [folder for name, folder in folders.items() if folder not in normal and name != "ground_truth"]
    masks = _tree_masks(folders.get("ground_truth"), {folder.name for folder in defects}, reported)
    train: list[ImageFile] = []
    test: list[ImageFile] = []
    failures: list[Skipped] = []
    for folder in (*normal, *defects):
        label = GOOD if folder in normal else folder.name
        found = list_folder(folder)
        reported += [*found.reported, *_unexpected(found.folders, "normal-abnormal")]
        files, failed = _with_masks(root, found, label, masks.get(folder.name, {}))
        (train if folder in normal else test).extend(files)
        failures += failed
    return _Found("normal-abnormal", train, test, reported, failures)


def _with_masks(
    root: Path, listing: Listing, label: str, elsewhere: dict[str, list[Path]] | None = None
) -> tuple[list[ImageFile], list[Skipped]]:
    """The images of one folder, each with its mask, and those of which it is not clear what they are."""
    files, failures = [], []
    stems = Counter(path.stem for path in listing.images)
    for path in listing.images:
        masks = [*listing.masks.get(path, []), *(elsewhere or {}).get(path.stem, [])]
        if stems[path.stem] > 1:
            names = sorted(other.name for other in listing.images if other.stem == path.stem)
            failures.append(
                Skipped(path, f"shares its name with another image ({', '.join(names)}); call a mask NAME_mask.png")
            )
        elif len(masks) > 1:
            names = sorted(mask.relative_to(root).as_posix() for mask in masks)
            failures.append(Skipped(path, f"has {len(masks)} masks ({', '.join(names)}); expected one at most"))
        else:
            group = path.relative_to(root).with_suffix("").as_posix()
            files.append(ImageFile(path, label, masks[0] if masks else None, group))
    without = set(elsewhere or {}) - set(stems)
    for stem in sorted(without):
        failures += [
            Skipped(mask, f"is a mask of an image {stem!r}, which does not exist") for mask in (elsewhere or {})[stem]
        ]
    return files, failures


def _unexpected(paths: Sequence[Path], layout: str) -> list[Skipped]:
    return [Skipped(path, f"has no place in the layout {layout}, see load_folder") for path in paths]


def _names(folders: Sequence[Path]) -> str:
    return "the folders " + ", ".join(folder.name for folder in folders) if folders else "no folder"


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)
