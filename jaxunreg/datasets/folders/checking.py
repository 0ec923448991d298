"""One look at every image of a data set, before anything is trained or scored."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from jaxunreg.datasets.folders.hashed_file import HashedFile
from jaxunreg.datasets.folders.hashed_masks import decode_masks
from jaxunreg.datasets.folders.image_file import GOOD, ImageFile
from jaxunreg.datasets.folders.image_files import Color, OnError, check_size, check_smallest
from jaxunreg.datasets.folders.mask_pixels import looks_inverted
from jaxunreg.datasets.folders.pixels import decode
from jaxunreg.datasets.folders.room import Room
from jaxunreg.datasets.folders.unusable import ImageFileError, Skipped
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.text import is_utf8

logger = logging.getLogger("jaxunreg.datasets")

_SECONDS_WITHOUT_BAR = 3.0


class _Look(NamedTuple):
    """The findings about one image."""

    size: tuple[int, int]
    bits: int
    colored: bool
    stored_colored: bool
    transparent: bool
    mask_is_empty: bool
    mask_is_inverted: bool


class CheckedFiles(NamedTuple):
    """Files that have all been decoded once."""

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
    failures: Sequence[ImageFileError] = (),
) -> CheckedFiles:
    """Decode every image and mask of a data set once, in threads, and choose gray or RGB for all of them.

    Decoded images are kept as far as there is room.

    Args:
      files: at least one.
      color: `"gray"`, `"rgb"`, or `"auto"`: gray if all images are gray, even if some are stored as RGB.
      on_error: whether an unusable file raises, or is left out and listed in `skipped`.
      min_size: the least height and width, in pixels.
      progress: whether to show a progress bar if it takes more than a few seconds.
      failures: files that are already known to be unusable.

    Raises:
      ImageFileError: a file cannot be used, and `on_error` is `"raise"`.
      ArgumentError: no file can be used, or an argument is not one of its choices.
    """
    if color not in ("auto", "gray", "rgb"):
        raise ArgumentError(argument("color", color), "'auto', 'gray' or 'rgb'", "give one of these")
    if on_error not in ("raise", "skip"):
        raise ArgumentError(argument("on_error", on_error), "'raise' or 'skip'", "give one of these")

    room = Room.in_memory()

    def attempt(file: ImageFile) -> _Look | ImageFileError:
        try:
            return _look_at(file, min_size, room)
        except ImageFileError as error:
            return error

    found = _map_with_bar(attempt, files, progress)
    looks: dict[Path, _Look | ImageFileError] = dict(zip((file.path for file in files), found, strict=True))
    errors = [*failures]
    errors += [look for look in looks.values() if isinstance(look, ImageFileError)]
    inverted = _inverted_masks([(file, look) for file in files if isinstance(look := looks[file.path], _Look)])
    looks |= inverted
    errors += inverted.values()
    if errors and on_error == "raise":
        first, more = errors[0], f" (and {len(errors) - 1} more files)" if len(errors) > 1 else ""
        skip = f"or skip such files with {argument('on_error', 'skip')}"
        advice = f"{first.advice}; {skip}" if first.advice else skip
        raise ImageFileError(first.path, f"{first.got}{more}", first.expected, advice)
    kept = [(file, look) for file in files if isinstance(look := looks[file.path], _Look)]
    if not kept:
        raise ArgumentError(f"none of {len(files)} images can be used", advice=f"the first error is: {errors[0]}")
    left_out = [Skipped(error.path, error.reason) for error in errors]
    for index, (file, look) in enumerate(kept):
        if look.mask_is_empty and file.label != GOOD:
            assert file.mask is not None
            left_out.append(Skipped(file.mask, f"marks nothing of {file.path.name}, which is kept without a mask"))
            kept[index] = replace(file, mask=None), look
    for entry in left_out:
        logger.warning("%s: %s", *entry)

    colored = sum(look.colored for _, look in kept)
    stored = sum(look.stored_colored for _, look in kept)
    transparent = sum(look.transparent for _, look in kept)
    channels = {"gray": 1, "rgb": 3, "auto": 3 if colored else 1}[color]
    bits = Counter(look.bits for _, look in kept)
    logger.info(
        "%d images are used as %s (color=%r): %d of them have colours, %d more are gray but stored as RGB; bits: %s%s"
        "%s",
        len(kept),
        "gray" if channels == 1 else "RGB",
        color,
        colored,
        stored - colored,
        ", ".join(f"{count} with {bit}" for bit, count in sorted(bits.items())),
        "" if max(bits) == 8 else ", so all become float32 in [0, 1]",
        f"; {transparent} have transparent pixels, whose stored colours are used" if transparent else "",
    )
    return CheckedFiles(
        files=tuple(file for file, _ in kept),
        sizes=np.array([look.size for _, look in kept], np.int64),
        channels=channels,
        bits=max(bits),
        skipped=tuple(left_out),
    )


def _inverted_masks(looked_at: Sequence[tuple[ImageFile, _Look]]) -> dict[Path, ImageFileError]:
    """Return the errors of masks that look inverted, by their images, if most masks of the data set do.

    A single such mask may mark a defect that covers most of a part, so it only logs a warning.
    """
    masks = [
        (file.path, file.mask, look.mask_is_inverted)
        for file, look in looked_at
        if file.label != GOOD and file.mask is not None and not look.mask_is_empty
    ]
    inverted = [(image, mask) for image, mask, is_inverted in masks if is_inverted]
    got = f"marks most pixels and most of the border, as {len(inverted)} of {len(masks)} masks do"
    advice = "invert the masks; if such masks are right, leave them out"
    if 2 * len(inverted) > len(masks):
        return {image: ImageFileError(mask, got, "defects in white on black", advice) for image, mask in inverted}
    for _, mask in inverted:
        logger.warning("%s: marks most pixels and most of the border; if it is inverted, invert it", mask)
    return {}


def _look_at(file: ImageFile, min_size: int | None, room: Room) -> _Look:
    if not is_utf8(str(file.path)):
        raise ImageFileError(
            file.path, "has a name that is not UTF-8", advice="rename it, or the folder that has such a name"
        )
    pixels, alpha = decode(file.content, alpha=True)
    height, width = pixels.shape[:2]
    check_smallest(file.path, (height, width), min_size)
    mask_is_empty = mask_is_inverted = False
    if file.mask_content is not None:
        mask = decode_masks(file.mask_content)
        check_size(file.mask_content.path, mask.shape, (height, width), f"as its image {file.path.name} has")
        mask_is_empty, mask_is_inverted = not mask.any(), looks_inverted(mask)
        if file.label == GOOD and not mask_is_empty:
            raise ImageFileError(
                file.mask_content.path,
                f"marks {int(mask.sum())} pixels of {file.path.name}, which is among the normal images",
                advice="empty the mask, or move the image to a folder of defects",
            )
        _keep(file.mask_content, mask, room)
    _keep(file.content, pixels, room)
    rgb = pixels.shape[2] == 3
    # Row by row, because comparing a whole image takes another two thirds of its memory.
    colored = rgb and any(bool((row[:, :1] != row[:, 1:]).any()) for row in pixels)
    bits = 8 * pixels.dtype.itemsize
    return _Look((height, width), bits, colored, rgb, alpha is not None, mask_is_empty, mask_is_inverted)


def _keep(content: HashedFile, decoded: np.ndarray, room: Room) -> None:
    # An array may be a view of a larger one: one channel of three, or a part of the decoder's array.
    whole = np.ascontiguousarray(decoded)
    if room.take(whole.nbytes):
        content.kept = whole


def _map_with_bar(function: Callable, items: Sequence[Any], progress: bool) -> Iterator[Any]:
    """Map in threads, in order, with a progress bar once it has taken a few seconds."""
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
