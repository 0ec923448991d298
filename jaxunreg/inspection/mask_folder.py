"""The masks of a detector on disk: its ignored area and its named regions, as PNG files that anybody can open."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxunreg.datasets.folders.hashed_file import HashedFile
from jaxunreg.datasets.folders.mask_pixels import decode_mask
from jaxunreg.errors import ArgumentError, JaxunregError
from jaxunreg.files import remove, temporary_sibling
from jaxunreg.serialization import file_hashes

MASKS = "masks"

_IGNORED = "ignored.png"


def save_masks(directory: Path, ignored: np.ndarray | None, regions: Sequence[np.ndarray]) -> dict[str, str]:
    """Write masks into the folder `masks` of a detector's folder. It is replaced, or removed if there are none.

    Args:
      directory: the detector's folder.
      ignored: mask of its ignored area, or None.
      regions: the masks of its named regions.

    Returns:
      The SHA-256 of each file, by its name.

    Raises:
      OSError: the folder cannot be written.
    """
    masks = {} if ignored is None else {_IGNORED: ignored}
    masks |= {_region(k): mask for k, mask in enumerate(regions)}
    if not masks:
        remove(directory / MASKS)
        return {}
    from PIL import Image

    temporary = temporary_sibling(directory / MASKS)
    try:
        temporary.mkdir()
        for name, mask in masks.items():
            Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(temporary / name)
        remove(directory / MASKS)
        os.replace(temporary, directory / MASKS)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return file_hashes(directory / MASKS)


def load_masks(
    directory: Path, files: Mapping[str, str], regions: int
) -> tuple[np.ndarray | None, tuple[np.ndarray, ...]]:
    """Read the masks that `save_masks` wrote.

    Args:
      directory: the detector's folder.
      files: the result of `save_masks`.
      regions: number of named regions.

    Returns:
      The mask of the ignored area, or None, and the mask of each named region.

    Raises:
      ArgumentError: a file is missing, or was altered.
      OSError: the folder cannot be read.
    """
    found = file_hashes(directory / MASKS) if files else {}
    wanted = {_region(k) for k in range(regions)}
    if found != dict(files) or wanted != set(files) - {_IGNORED}:
        differing = sorted(name for name in {*files, *found, *wanted} if found.get(name) != files.get(name, ""))
        raise ArgumentError(
            f"masks that are not those it was written with ({', '.join(differing) or MASKS})",
            "the files that were written",
            field="mask_files",
        )
    masks = {name: _read(directory / MASKS / name) for name in files}
    return masks.get(_IGNORED), tuple(masks[_region(k)] for k in range(regions))


def _read(path: Path) -> np.ndarray:
    try:
        return decode_mask(HashedFile(path))
    except JaxunregError as error:
        raise ArgumentError(str(error), "a mask", field="mask_files") from error


def _region(number: int) -> str:
    return f"region-{number}.png"
