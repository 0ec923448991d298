"""The complexity of an image: the size of its PNG."""

import io
from collections.abc import Sequence

import numpy as np
import PIL.Image
from jaxtyping import Int64

from jaxunreg.errors import ArgumentError
from jaxunreg.images import check_images
from jaxunreg.signatures import checked


@checked
def complexity(images: np.ndarray | Sequence[np.ndarray]) -> Int64[np.ndarray, "n"]:
    """Return the complexity of each image: the size of its PNG in bytes.

    PNG is lossless, so its size is an upper bound of the information in the image. A flat surface takes few bytes, a
    screw thread more, and noise most. Pillow writes the PNG with compression level 6 and its own choice of filters.
    Another version of zlib gives other sizes in nearly the same order, so compare only sizes of one run, and of images
    of one size.

    Args:
      images: `[N, height, width, channels]`, or a sequence of `[height, width, channels]` in any sizes; one channel
        or three; uint8, or floating point in [0, 1], which is rounded to eight bits.

    Returns:
      Bytes, int64 `[N]`.

    Raises:
      ArgumentTypeError: images that are neither uint8 nor floating point.
      ArgumentError: no images; an image of another rank or number of channels, not finite or out of range.

    >>> flat, noise = np.zeros((16, 16, 1)), np.random.default_rng(0).uniform(size=(16, 16, 1))
    >>> sizes = complexity([flat, noise])
    >>> bool(sizes[0] < sizes[1])
    True
    """
    if len(images) == 0:
        raise ArgumentError("no images", "at least one", field="images")
    return np.array([_png_bytes(image) for image in images], dtype=np.int64)


def bytes_a_pixel(image: np.ndarray) -> float:
    """Return the complexity of one image, divided by its pixels, so that images of several sizes can be compared.

    Args:
      image: `[height, width, channels]`, as for `complexity`.

    Returns:
      Bytes a pixel.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `complexity`.

    >>> flat = np.zeros((100, 100, 1))
    >>> bytes_a_pixel(flat) < 0.1
    True
    """
    return float(complexity([image])[0]) / (image.shape[0] * image.shape[1])


def _png_bytes(image: np.ndarray) -> int:
    check_images(image, (None, None, None))
    channels = image.shape[-1]
    if channels not in (1, 3):
        raise ArgumentError(f"an image of {channels} channels", "one (gray) or three (RGB)", "pick those", "image")
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels.astype(np.float64) * 255.0).astype(np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, format="PNG", compress_level=6)
    return file.tell()
