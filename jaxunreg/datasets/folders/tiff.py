"""The tags of a TIFF about its pixels that Pillow does not apply."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from jaxunreg.datasets.folders.unusable import ImageFileError

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339

_WHITE_IS_ZERO = 0

_SIGNED = 2


def most_bits(tags: Mapping[int, Any]) -> int:
    """Return the bits of a sample, or the most bits if the channels differ."""
    return max(tags.get(_BITS_PER_SAMPLE, (8,)))


def as_tagged(
    path: Path, pixels: Num[np.ndarray, "height width _"], tags: Mapping[int, Any]
) -> Num[np.ndarray, "height width _"]:
    """Put the pixels on the scale of the tags: white is high, and the largest value is that of the dtype.

    Pillow inverts an image whose white is zero if it has 1 to 8 bits, but not with 16 bits. It returns 12 bits as the
    lower ones of 16.

    Args:
      path: the file, for the error.
      pixels: the pixels from Pillow.
      tags: tags of the first image of the file.

    Raises:
      ImageFileError: the samples are signed, or their depth or order has no such scale.
    """
    signed, depth = _SIGNED in tags.get(_SAMPLE_FORMAT, ()), most_bits(tags)
    is_inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    if signed or (is_inverted and pixels.dtype == np.float32):
        what = f"signed values of {depth} bits" if signed else "floating-point values whose white is zero"
        raise ImageFileError(
            path, f"holds {what}", "8 or 16 bits without a sign, or floating point whose black is zero", "convert it"
        )
    if pixels.dtype != np.uint16:
        return pixels
    if depth == 12:
        pixels = np.rint(pixels * (65535 / 4095)).astype(np.uint16)
    return np.iinfo(np.uint16).max - pixels if is_inverted else pixels
