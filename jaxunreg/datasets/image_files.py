"""Image files on disk as a sequence of arrays: every pixel is looked at once when loading, and read again when used."""

import hashlib
import logging
import operator
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, SupportsIndex, TypeAlias, overload

import numpy as np
from jaxtyping import Bool, Int64
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from jaxunreg.datasets.image_pixels import (
    SUFFIXES,
    ImageFileError,
    convert,
    find_bombs,
    is_transparent,
    read_mask,
    read_pixels,
)
from jaxunreg.files import printable

GOOD = "good"
"""The label of an image that is assumed normal; any other is the name of a defect."""

UNKNOWN = "unknown"
"""The label of an image of which nothing is known."""

Color: TypeAlias = Literal["auto", "gray", "rgb"]
OnError: TypeAlias = Literal["raise", "skip"]

_logger = logging.getLogger("jaxunreg.datasets")

_SECONDS_WITHOUT_BAR = 3.0


class Skipped(NamedTuple):
    """A file or folder that was left out, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class ImageFile:
    """One image on disk.

    Attributes:
      path: the file.
      label: `"good"`, the name of the defect, or `"unknown"`.
      mask: the file that marks the defect's pixels, if there is one.
      group: what must not be split over training and test, e.g. the part that several images show. Default:
        the file's own stem.

    >>> ImageFile(Path("test/crack/007.png"), "crack").group
    '007'
    """

    path: Path
    label: str = GOOD
    mask: Path | None = None
    group: str = ""

    def __post_init__(self) -> None:
        if not self.group:
            object.__setattr__(self, "group", self.path.stem)


@dataclass(frozen=True, eq=False)
class ImageFiles(Sequence):
    """Images of any sizes, decoded when they are asked for; made by `load_files` and `load_folder`.

    `x[i]` is `[height, width, channels]`, uint8 if all images of the data set have 8 bits, otherwise float32
    in [0, 1]. Images are turned as their EXIF orientation says, palettes are resolved, and alpha channels are
    dropped. Nothing is held in memory, and the object can be pickled and sent to other processes.

    Attributes:
      files: where the images are, and what is known of them.
      sizes: height and width of each, int64 `[n, 2]`.
      channels: 1 or 3, for all images.
      bits: 8, 16, or 32 for floating point: the most that any image of the data set has.
      skipped: files that `load_files` left out.

    Raises:
      ImageFileError: on access, if a file has changed or gone since it was loaded.
    """

    files: tuple[ImageFile, ...]
    sizes: Int64[np.ndarray, "n 2"]
    channels: int
    bits: int = 8
    skipped: tuple[Skipped, ...] = ()

    @property
    def dtype(self) -> np.dtype:
        """uint8 or float32."""
        return np.dtype(np.uint8 if self.bits == 8 else np.float32)

    @property
    def nbytes(self) -> int:
        """What all images take in memory once decoded."""
        return int(self.sizes.prod(axis=1).sum()) * self.channels * self.dtype.itemsize

    @property
    def labels(self) -> tuple[str, ...]:
        """`"good"`, a defect's name, or `"unknown"`, for each image."""
        return tuple(file.label for file in self.files)

    @property
    def is_anomalous(self) -> Bool[np.ndarray, " n"]:
        """Whether each image has a defect.

        Raises:
          ValueError: there are images of unknown label.
        """
        if UNKNOWN in self.labels:
            raise ValueError(
                f"{self.labels.count(UNKNOWN)} of {len(self)} images have an unknown label; expected labels, "
                "as load_folder finds them"
            )
        return np.array([label != GOOD for label in self.labels], bool)

    @cached_property
    def hashes(self) -> tuple[str, ...]:
        """SHA-256 of the bytes of each file, in hexadecimal."""
        return tuple(hashlib.sha256(file.path.read_bytes()).hexdigest() for file in self.files)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over names, labels, sizes and the bytes of all files and masks, the same wherever they lie."""
        digest = hashlib.sha256(f"{self.channels} {self.dtype}".encode())
        for file, of_file, (height, width) in zip(self.files, self.hashes, self.sizes, strict=True):
            digest.update(f"\0{file.path.name}\0{file.label}\0{height}x{width}\0".encode())
            digest.update(bytes.fromhex(of_file))
            digest.update(hashlib.sha256(file.mask.read_bytes()).digest() if file.mask else b"\0")
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: SupportsIndex) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> "ImageFiles": ...
    def __getitem__(self, index: SupportsIndex | slice) -> "np.ndarray | ImageFiles":
        if isinstance(index, slice):
            return self.select(range(len(self))[index])
        i = operator.index(index)
        path = self.files[i].path
        pixels = convert(read_pixels(path), self.channels, as_float=self.bits > 8)
        _check_size(path, pixels.shape[:2], tuple(self.sizes[i].tolist()), "as it was when it was loaded")
        return pixels

    def mask(self, index: SupportsIndex) -> Bool[np.ndarray, "height width"] | None:
        """The pixels of the defect: all false for a normal image, `None` where no mask is known."""
        i = operator.index(index)
        file = self.files[i]
        if file.label == GOOD:
            return np.zeros(self.sizes[i], bool)
        return None if file.mask is None else read_mask(file.mask)

    def select(self, indices: Any) -> "ImageFiles":
        """Some of the images, in the order asked for.

        Args:
          indices: integers `[m]`, or one truth value for each image.
        """
        chosen = np.asarray(indices)
        if chosen.dtype == bool and chosen.shape != (len(self),):
            raise IndexError(f"got {chosen.shape} truth values; expected ({len(self)},)")
        chosen = np.arange(len(self))[chosen.astype(np.int64) if chosen.size == 0 else chosen]
        return replace(self, files=tuple(self.files[i] for i in chosen), sizes=self.sizes[chosen], skipped=())

    def joined(self, others: "ImageFiles") -> "ImageFiles":
        """These images and then others of the same data set."""
        return replace(
            self,
            files=(*self.files, *others.files),
            sizes=np.concatenate([self.sizes, others.sizes]),
            skipped=(*self.skipped, *others.skipped),
        )

    def masked(self) -> "ImageFiles":
        """The images of which it is known which pixels are a defect's: the normal ones, and those with a mask."""
        return self.select([file.label == GOOD or file.mask is not None for file in self.files])

    def split(self, fraction: float, *, seed: int = 0) -> "tuple[ImageFiles, ImageFiles]":
        """Hold out whole groups, see `held_out`.

        Returns:
          The images that are kept and those that are held out, in their order.
        """
        out = held_out([file.group for file in self.files], fraction, seed=seed)
        return self.select(~out), self.select(out)


def held_out(groups: Sequence[str], fraction: float, *, seed: int = 0) -> Bool[np.ndarray, " n"]:
    """Choose groups to hold out.

    The groups are ordered by the SHA-256 of seed and name, and the first of them are taken: the choice depends
    neither on their order nor on the platform, and hardly changes when a group comes or goes.

    Args:
      groups: the group of each image.
      fraction: the share of groups to hold out, in [0, 1): rounded, at least one group if above 0, never all.
      seed: any integer.

    Returns:
      Whether each image is held out.

    Raises:
      ValueError: the fraction is out of range, or there is only one group to split.

    >>> held_out(["a", "a", "b", "c"], 0.3).tolist()
    [False, False, False, True]
    """
    if not 0.0 <= fraction < 1.0:
        raise ValueError(f"the fraction to hold out is {fraction}; expected at least 0 and less than 1")
    names = sorted(set(groups), key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    if fraction > 0.0 and len(names) < 2:
        raise ValueError(
            f"got {len(names)} group(s) of images to hold a share of {fraction} out of; expected 2 or more"
        )
    count = min(max(round(fraction * len(names)), 1), len(names) - 1) if fraction > 0.0 else 0
    chosen = set(names[:count])
    return np.array([group in chosen for group in groups], bool)


def load_files(
    paths: Iterable[str | Path],
    *,
    color: Color = "auto",
    on_error: OnError = "raise",
    min_size: int | None = None,
    label: str = UNKNOWN,
    progress: bool = True,
) -> ImageFiles:
    """Load images of which nothing is known, to score them.

    Args:
      paths: files, and folders, of which all images below are taken in the order of their names, without hidden
        files. What is a mask by its name or lies in `ground_truth` is left out and listed in `skipped`.
      color: one choice for all images. `"auto"` is gray if all images are, be they stored as RGB or not.
      on_error: whether a file or folder that cannot be used raises, or is left out and listed in `skipped`.
      min_size: the least height and width, in pixels.
      label: the label of all images.
      progress: whether to show a progress bar if it takes more than a few seconds.

    Returns:
      The images, checked.

    Raises:
      ImageFileError: a file cannot be used, and `on_error` is `"raise"`.
      FileNotFoundError: a file or folder does not exist.
      ValueError: there is no image, or none in a folder.
    """
    files: list[ImageFile] = []
    reported: list[Skipped] = []
    failures: list[Skipped] = []
    for path in (Path(path).expanduser() for path in paths):
        if path.is_dir():
            images, others, unread = _list_below(path)
            failures += unread
            if not images and not unread:
                raise ValueError(
                    f"got no image in {path}; expected files with a suffix among {', '.join(SUFFIXES)}, which are "
                    "neither hidden nor named as masks"
                )
            files += [ImageFile(image, label) for image in images]
            reported += others
        elif not path.exists():
            raise FileNotFoundError(f"{path} does not exist; expected an image or a folder of images")
        else:
            files.append(ImageFile(path, label))
    if not files and not failures:
        raise ValueError(
            f"got no image; expected files with a suffix among {', '.join(SUFFIXES)}, or folders with such"
        )
    checked = check_files(
        files, color=color, on_error=on_error, min_size=min_size, progress=progress, failures=failures
    )
    for entry in reported:
        _logger.warning("%s: %s", *entry)
    return ImageFiles(
        checked.files, checked.sizes, checked.channels, checked.bits, skipped=(*reported, *checked.skipped)
    )


def _list_below(top: Path) -> tuple[list[Path], list[Skipped], list[Skipped]]:
    """The images in a folder and all its subfolders, what is none, and which folders cannot be read.

    Each folder in the order of its names.
    """
    images: list[Path] = []
    reported: list[Skipped] = []
    failures: list[Skipped] = []
    seen: dict[Path, Path] = {}

    def add(folder: Path, holds_masks: bool) -> None:
        before = seen.setdefault(folder.resolve(), folder)
        if before != folder:
            reported.append(Skipped(folder, f"is the same folder as {before}, of which the images are taken"))
            return
        try:
            listing = list_folder(folder)
        except PermissionError as error:
            failures.append(Skipped(folder, f"cannot be opened ({error.strerror}); check its rights"))
            return
        reported.extend(listing.reported)
        masks = {mask: image.name for image, masks in listing.masks.items() for mask in masks}
        for mask, image in sorted(masks.items()):
            reported.append(Skipped(mask, f"is a mask of {image} by its name; give the file itself to score it"))
        if holds_masks:
            reported.extend(
                Skipped(path, "is a mask, since it lies in `ground_truth`; give the file itself to score it")
                for path in listing.images
            )
        else:
            images.extend(listing.images)
        for inner in listing.folders:
            add(inner, holds_masks or inner.name == "ground_truth")

    add(top, False)
    return images, reported, failures


# --- what lies in a folder -------------------------------------------------------------------------------

_MASK_ENDINGS = ("_mask", "-mask", "_gt")


class Listing(NamedTuple):
    """One folder without its subfolders' contents; everything in the order of the names."""

    images: list[Path]
    masks: dict[Path, list[Path]]  # the masks beside each image that has any
    folders: list[Path]
    reported: list[Skipped]


def list_folder(folder: Path) -> Listing:
    """Sort a folder's entries into images, masks, subfolders and what is none of these."""
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
        named.setdefault(path.stem, []).append(path)
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
    """The stem of the image that a mask belongs to, if a file is named as a mask.

    >>> image_stem(Path("ground_truth/crack/007_mask.png")), image_stem(Path("test/crack/007.png"))
    ('007', None)
    """
    for ending in _MASK_ENDINGS:
        if mask.stem.lower().endswith(ending) and len(mask.stem) > len(ending):
            return mask.stem[: -len(ending)]
    return None


def is_hidden(name: str) -> bool:
    """Whether a name is of what an operating system hides or leaves behind, as `._007.png`."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini", "__macosx")


# --- all files of a data set -----------------------------------------------------------------------------


def _check_size(path: Path, got: tuple[int, ...], expected: tuple[int, ...], why: str) -> None:
    if got != expected:
        height, width = expected
        raise ImageFileError(path, f"has {got[0]}x{got[1]} pixels; expected {height}x{width}, {why}")


class _Look(NamedTuple):
    """What was seen of one image."""

    size: tuple[int, int]
    bits: int
    colored: bool
    stored_colored: bool
    transparent: bool
    mask_is_empty: bool


class CheckedFiles(NamedTuple):
    """Files of which every pixel has been decoded once."""

    files: tuple[ImageFile, ...]
    sizes: np.ndarray
    channels: int
    bits: int
    skipped: tuple[Skipped, ...]


def check_files(
    files: Sequence[ImageFile],
    *,
    color: Color = "auto",
    on_error: OnError = "raise",
    min_size: int | None = None,
    progress: bool = True,
    failures: Sequence[Skipped] = (),
) -> CheckedFiles:
    """Decode every image and mask of a data set once, in threads, and choose gray or RGB for all of them.

    Args:
      files: at least one.
      color: see `load_files`.
      on_error: see `load_files`.
      min_size: see `load_files`.
      progress: see `load_files`.
      failures: files that are known to be unusable already.

    Raises:
      ImageFileError: a file cannot be used, and `on_error` is `"raise"`.
      ValueError: no file can be used, or an argument is none of its choices.
    """
    if color not in ("auto", "gray", "rgb"):
        raise ValueError(f"color is {color!r}; expected 'auto', 'gray' or 'rgb'")
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error is {on_error!r}; expected 'raise' or 'skip'")

    def attempt(file: ImageFile) -> _Look | ImageFileError:
        try:
            return _look_at(file, min_size)
        except ImageFileError as error:
            return error

    bombs = find_bombs(path for file in files for path in (file.path, file.mask) if path)
    looks: dict[Path, _Look | ImageFileError] = {
        file.path: bombs[path] for file in files for path in (file.path, file.mask) if path in bombs
    }
    harmless = [file for file in files if file.path not in looks]
    looks |= zip((file.path for file in harmless), _map_with_bar(attempt, harmless, progress), strict=True)

    errors = [ImageFileError(*failure) for failure in failures]
    errors += [look for look in looks.values() if isinstance(look, ImageFileError)]
    if errors and on_error == "raise":
        more = f" (and {len(errors) - 1} more files)" if len(errors) > 1 else ""
        raise ImageFileError(errors[0].path, f"{errors[0].reason}{more}; or skip such files with on_error='skip'")
    kept = [(file, look) for file in files if isinstance(look := looks[file.path], _Look)]
    if not kept:
        raise ValueError(f"none of {len(files)} images can be used; the first error is: {errors[0]}")
    left_out = [Skipped(error.path, error.reason) for error in errors]
    for index, (file, look) in enumerate(kept):
        if look.mask_is_empty and file.label != GOOD:
            assert file.mask is not None
            left_out.append(Skipped(file.mask, f"marks nothing of {file.path.name}, which is kept without a mask"))
            kept[index] = replace(file, mask=None), look
    for entry in left_out:
        _logger.warning("%s: %s", *entry)

    colored = sum(look.colored for _, look in kept)
    stored = sum(look.stored_colored for _, look in kept)
    transparent = sum(look.transparent for _, look in kept)
    channels = {"gray": 1, "rgb": 3, "auto": 3 if colored else 1}[color]
    bits = Counter(look.bits for _, look in kept)
    _logger.info(
        "%d images are used as %s (color=%r): %d of them have colours, %d more are gray but stored as RGB; bits: %s%s"
        "%s",
        len(kept),
        "gray" if channels == 1 else "RGB",
        color,
        colored,
        stored - colored,
        ", ".join(f"{count} with {bit}" for bit, count in sorted(bits.items())),
        "" if max(bits) == 8 else ", so all become float32 in [0, 1]",
        f"; {transparent} have transparent pixels, of which the stored colours are used" if transparent else "",
    )
    return CheckedFiles(
        files=tuple(file for file, _ in kept),
        sizes=np.array([look.size for _, look in kept], np.int64),
        channels=channels,
        bits=max(bits),
        skipped=tuple(left_out),
    )


def _look_at(file: ImageFile, min_size: int | None) -> _Look:
    if printable(str(file.path)) != str(file.path):
        raise ImageFileError(file.path, "has a name that is not UTF-8; rename it, or the folder that has such a name")
    pixels = read_pixels(file.path)
    height, width = pixels.shape[:2]
    if min(height, width) < (min_size or 1):
        raise ImageFileError(file.path, f"has {height}x{width} pixels; expected at least {min_size}x{min_size}")
    mask_is_empty = False
    if file.mask is not None:
        mask = read_mask(file.mask)
        _check_size(file.mask, mask.shape, (height, width), f"as its image {file.path.name} has")
        mask_is_empty = not mask.any()
        if file.label == GOOD and not mask_is_empty:
            raise ImageFileError(
                file.mask, f"marks {int(mask.sum())} pixels of {file.path.name}, which is among the normal images"
            )
    rgb = pixels.shape[2] == 3
    colored = rgb and bool((pixels[:, :, :1] != pixels[:, :, 1:]).any())
    return _Look((height, width), 8 * pixels.dtype.itemsize, colored, rgb, is_transparent(file.path), mask_is_empty)


def _map_with_bar(function: Callable, items: Sequence[Any], progress: bool) -> Iterator[Any]:
    """`map` in threads, in order, with a progress bar once it has taken a few seconds."""
    started = time.monotonic()
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress("{task.description}", *columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("reading images", total=len(items))
    with ThreadPoolExecutor() as threads:
        try:
            for done, result in enumerate(threads.map(function, items), 1):
                if progress and not bar.live.is_started and time.monotonic() - started > _SECONDS_WITHOUT_BAR:
                    bar.start()
                bar.update(task, completed=done)
                yield result
        finally:
            if bar.live.is_started:
                bar.stop()
