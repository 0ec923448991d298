"""A folder of images as a data set with a training and a test split."""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxunreg.datasets.file_errors import FolderError, MissingFileError, NotAFolderError
from jaxunreg.datasets.folders.checking import check_files
from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.datasets.folders.image_files import Color, ImageFiles, OnError
from jaxunreg.datasets.folders.layouts import find_layout, find_list
from jaxunreg.datasets.folders.pixels import SUFFIXES
from jaxunreg.datasets.folders.splitting import check_fraction
from jaxunreg.datasets.folders.unusable import Skipped
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.paths import given_path

HELD_OUT = 0.25
"""The share of the normal groups in the test split, if there are defects but no split on disk."""

_LISTS = (".csv", ".tsv")

# What is held out whole, where that is not an image.
_UNITS = {"magnetic-tile": "tiles without a defect", "kolektor": "items, with all their normal surfaces,"}

_logger = logging.getLogger("jaxunreg.datasets")


@dataclass(frozen=True)
class FolderDataset:
    """A training and a test split of the images in a folder.

    Attributes:
      name: the folder's name.
      directory: the folder.
      layout: the name of the layout, from the table of `load_folder`.
      train: normal images only.
      test: normal images and defects. It may be empty, or hold only one kind.
      channels: 1 or 3, of all images.
      bits: the most bits of any image: 8, 16, or 32 for floating point.
      skipped: the files that were left out, and why.
      split: one sentence on how training and test images were told apart.
      has_split: whether training and test images are told apart on disk.
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
    has_split: bool = False

    def describe(self) -> dict[str, Any]:
        """Describe the data for the results of a run, as JSON data. Paths are relative to the folder."""
        return {
            "name": self.name,
            "layout": self.layout,
            "split": self.split,
            "color": "gray" if self.channels == 1 else "rgb",
            "channels": self.channels,
            "bits": self.bits,
            "train": _describe(self.train),
            "test": _describe(self.test),
            "skipped": [{"path": self._relative(path), "reason": reason} for path, reason in self.skipped],
        }

    def _relative(self, path: Path) -> str:
        # A list may name images that lie elsewhere.
        return (path.relative_to(self.directory) if path.is_relative_to(self.directory) else Path(path.name)).as_posix()


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
    """Recognise the layout of a folder, check every image in it once, and split it.

    | layout | what is in the folder | training | test |
    |---|---|---|---|
    | mvtec | `train/good`, `test/good`, `test/DEFECT`, `ground_truth/DEFECT/NAME_mask.png` | `train` | `test` |
    | normal-abnormal | `good` (normal, ok), and `bad` (defect, ng, ...) or a folder for each defect | normal | rest |
    | plain | images, all assumed normal | all | none, unless `test_fraction` is given |
    | mvtec-loco | as mvtec, with `validation/good`, `test/logical_anomalies`, ... | `train`, `validation` | `test` |
    | magnetic-tile | `MT_Free`, `MT_Crack`, ... with `expA_num_B.jpg` and mask `expA_num_B.png` | see below | rest |
    | kolektor | `kos01`, ... with `Part0.jpg` and mask `Part0_label.bmp` | normal surfaces | rest |
    | visa | an object of VisA, `Data/Images/Normal`, ..., beside `split_csv/1cls.csv` | as listed | as listed |
    | list | a CSV file with the columns path, label, mask, split and group, see below | normal, or `train` | rest |

    Masks may also lie beside their images as `NAME_mask`, `NAME-mask` or `NAME_gt`, and `ground_truth` may be called
    `groundtruth` or `gt`. Upper and lower case do not matter. If the split is not on disk, `held_out` chooses a share
    of the normal *groups* for the test split. A group is an image. For the magnetic tiles it is a tile with all its
    photographs, and a tile with a defect in any photograph is a test tile, so no tile is in both splits. An image of
    MVTec LOCO has several masks, in a folder `ground_truth/DEFECT/NAME`. A pixel is marked if any of them marks it.
    BTAD (`ok`, `ko`) has the layout mvtec.

    The first row of a list names its columns. Only path is required. Paths are relative to the list's folder. Labels
    are good (normal, ok, 0) or names of defects. Masks, splits (train or test) and groups are optional.

    It reads PNG, JPEG, BMP and TIFF with 8 or 16 bits, gray or RGB, of any sizes, and floating-point TIFF in [0, 1].
    Gray or RGB is one choice for the data set. Hidden files are ignored. `skipped` always lists files whose names are
    not those of images, folders that do not belong to the layout, masks without an image, and masks of a defect that
    mark nothing.

    Args:
      directory: the folder, or a list.
      color: `"gray"`, `"rgb"`, or `"auto"`: gray if all images are gray, even if some are stored as RGB.
      on_error: what to do with an unusable file. An image is unusable if it is unreadable, cut short, empty, too small,
        a decompression bomb, or holds NaN; or if it has two masks, or a mask of another size, of unclear values, or on
        a normal image. Masks that mark most of their image are unusable if most masks do, because they look inverted.
        So is a file of `ground_truth` that belongs to no image. `"raise"` raises. `"skip"` leaves the file out, lists
        it in `skipped` and logs a warning.
      min_size: the least height and width, in pixels; default: no limit.
      test_fraction: the share of the normal groups for the test split, in [0, 1); default: 0.25 if there are defects to
        test on, else 0. It is refused for a tree that has its own test split.
      fallback_fraction: the same for a folder that may have its own test split. If it has one, that is used.
      seed: seed of the choice of these groups.
      progress: whether to show a progress bar if it takes more than a few seconds.

    Returns:
      The data set.

    Raises:
      MissingFileError: there is no such folder.
      NotAFolderError: the path is a file.
      ImageFileError: an image cannot be used, and `on_error` is `"raise"`.
      FolderError: the layout is none of these, or there is no normal image.
      ListError: the rows of a list cannot be used. The error names the row and the column.
      ArgumentError: an argument is out of range, or no image can be used.

    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for i in range(3):
    ...         Image.new("L", (8, 6), i).save(Path(folder) / f"{i}.png")
    ...     data = load_folder(folder)
    ...     data.layout, data.train[2].shape, int(data.train[2].max())
    ('plain', (6, 8, 1), 2)
    """
    root = given_path("directory", directory).resolve()
    if not root.exists():
        raise MissingFileError(root, "does not exist", "a folder of images")
    is_list = root.is_file() and root.suffix.lower() in _LISTS
    if not root.is_dir() and not is_list:
        raise NotAFolderError(root, "is a file", "a folder of images, or a list in a .csv file")
    check_fraction("test_fraction", test_fraction or 0.0)
    check_fraction("fallback_fraction", fallback_fraction or 0.0)
    found = find_list(root) if is_list else find_layout(root)
    if not found.train:
        raise FolderError(
            root,
            f"holds no normal image to train on (layout {found.layout})",
            f"files with a suffix among {', '.join(SUFFIXES)}",
            "add normal images",
        )
    for skipped in found.reported:
        _logger.warning("%s: %s", *skipped)
    if found.has_split and test_fraction is not None:
        raise ArgumentError(
            f"{argument('test_fraction', test_fraction)} for {root}",
            "none, since that has a test split of its own" if is_list else "none, since that has a folder `test`",
            f"leave {argument('test_fraction')} out",
        )
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
        raise FolderError(
            root,
            f"has no normal image left, all {len(found.train)} were skipped",
            "one or more that can be used",
            "see the warnings for what is wrong with each",
        )
    split = "as on disk"
    if not found.has_split:
        default = HELD_OUT if found.test else 0.0
        fraction = next(f for f in (test_fraction, fallback_fraction, default) if f is not None)
        unit = _UNITS.get(found.layout, "normal images")
        split = f"a share of {fraction:g} of the {unit} is held out for the test, seed {seed}"
        _, out = images.select(is_train).split(fraction, seed=seed)
        held = {file.path for file in out.files}
        is_train &= np.array([file.path not in held for file in images.files], bool)
    if found.layout == "magnetic-tile":
        split += "; a tile with a defect in any photograph is a test tile; no tile is in both splits"
    _logger.info("%s: layout %s; %d images for training, %d for the test: %s", root, found.layout,
                 is_train.sum(), (~is_train).sum(), split)  # fmt: skip
    return FolderDataset(
        name=root.stem if is_list else root.name,
        directory=root.parent if is_list else root,
        layout=found.layout,
        train=images.select(is_train),
        test=images.select(~is_train),
        channels=images.channels,
        bits=images.bits,
        skipped=(*found.reported, *checked.skipped),
        split=split,
        has_split=found.has_split,
    )
