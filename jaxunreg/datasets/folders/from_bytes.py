"""One image from the bytes of a file, which came over a network or has just arrived in a folder."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from jaxunreg.datasets.folders.image_files import check_smallest
from jaxunreg.datasets.folders.pixels import convert, decode_bytes


def image_from_bytes(
    name: str | Path,
    contents: bytes,
    *,
    channels: int,
    min_size: int | None = None,
    most_pixels: int | None = None,
) -> UInt8[np.ndarray, "height width {channels}"] | Float32[np.ndarray, "height width {channels}"]:
    """Decode one image, with the checks and the conversions of `load_files`.

    Args:
      name: the file, or the name of the image in an error.
      contents: the bytes of a PNG, JPEG, BMP or TIFF.
      channels: number of channels that the image is to have, 1 or 3.
      min_size: the least height and width, in pixels.
      most_pixels: the largest number of pixels; default: Pillow's limit.

    Returns:
      `[height, width, channels]`, uint8 if the file has 8 bits, otherwise float32 in [0, 1].

    Raises:
      ImageFileError: the bytes are not such an image, damaged or cut short, or the size is not allowed.

    >>> import io
    >>> from PIL import Image
    >>> file = io.BytesIO()
    >>> Image.new("L", (8, 6)).save(file, "PNG")
    >>> image_from_bytes("a.png", file.getvalue(), channels=3).shape
    (6, 8, 3)
    >>> image_from_bytes("a.png", file.getvalue()[:40], channels=3)
    Traceback (most recent call last):
    jaxunreg.datasets.folders.unusable.ImageFileError: a.png: ...
    """
    path = Path(name)
    pixels = decode_bytes(path, contents, most_pixels=most_pixels).pixels
    check_smallest(path, (pixels.shape[0], pixels.shape[1]), min_size)
    return convert(pixels, channels, as_float=pixels.dtype != np.uint8)
