"""The size at which a feature network sees images, and resizing to it."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Float32, Int64, Num
from PIL import Image as PillowImage

from jaxunreg.images import check_images
from jaxunreg.typing import Image

SMALLEST_IMAGE = 16
"""The least height and width of an image, in pixels. A smaller one shows a pretrained network next to nothing."""

DEFAULT_RESOLUTION = 384
"""Square root of the number of pixels of a working image, if the user does not say."""

# The least number of places of a working image in height and in width, even if the image must be enlarged.
_FEWEST_PLACES = 4

# Height and width are multiples of this, so that the maps of all levels of a network divide the image evenly.
_MULTIPLE = 16


class WorkingImage(NamedTuple):
    """An image at the working size.

    Attributes:
      pixels: float32 `[height, width, channels]` in [0, 1], at the working size.
      size: height and width of the original image.
    """

    pixels: Float32[np.ndarray, "_ _ _"]
    size: tuple[int, int]


def working_size(sizes: Int64[np.ndarray, "n 2"], resolution: int | None, stride: int) -> tuple[int, int]:
    """Return the working height and width of images, multiples of 16, with their median aspect ratio.

    Args:
      sizes: height and width of each image.
      resolution: square root of the number of pixels. None is `DEFAULT_RESOLUTION` for images that are larger. Smaller
        images are enlarged only for a map of at least 4x4 places.
      stride: the feature network's.

    >>> working_size(np.array([[450, 450]]), None, 8), working_size(np.array([[1250, 500]]), None, 8)
    ((384, 384), (608, 240))
    >>> sizes = np.array([[300, 200], [310, 200], [20, 200]])
    >>> working_size(sizes, None, 8), working_size(sizes, 384, 8), working_size(np.array([[20, 90]]), None, 8)
    ((288, 192), (464, 320), (32, 80))
    """
    height, width = (float(length) for length in np.median(sizes, axis=0))
    aspect = float(np.median(sizes[:, 0] / sizes[:, 1]))
    pixels = min(DEFAULT_RESOLUTION**2, height * width) if resolution is None else float(resolution) ** 2
    smallest = -(-_FEWEST_PLACES * stride // _MULTIPLE) * _MULTIPLE

    def fitting(wanted: float, own: float) -> int:
        most = int(own) // _MULTIPLE * _MULTIPLE
        length = round(wanted / _MULTIPLE) * _MULTIPLE
        return max(smallest, min(length, most) if resolution is None else length)

    return fitting((pixels * aspect) ** 0.5, height), fitting((pixels / aspect) ** 0.5, width)


def resized(image: Image, size: tuple[int, int]) -> Float[Array, "_ _ channels"]:
    """Resize an image by linear interpolation with antialiasing, inside JAX.

    >>> import jax.numpy as jnp
    >>> resized(jnp.ones((40, 30, 3)), (32, 48)).shape
    (32, 48, 3)
    """
    if image.shape[:2] == size:
        return image
    return jax.image.resize(image, (*size, image.shape[2]), "linear", antialias=True)


def shrunk(image: Num[Array | np.ndarray, "_ _ _"], size: tuple[int, int], channels: int) -> WorkingImage:
    """Do the same on the host, up to rounding. It compiles nothing for a new size of images.

    Args:
      image: `[height, width, channels]`; uint8, or floating point in [0, 1].
      size: height and width of the result.
      channels: number of channels that the image must have.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `check_images`.

    >>> one = shrunk(np.full((40, 30, 3), 255, np.uint8), (32, 48), channels=3)
    >>> one.pixels.shape, one.pixels.dtype.name, float(one.pixels.min()), one.size
    ((32, 48, 3), 'float32', 1.0, (40, 30))
    """
    check_images(image, (None, None, channels))
    pixels = np.asarray(image)
    full = np.float32(255 if pixels.dtype == np.uint8 else 1)
    height, width = size
    if pixels.shape[:2] != size:
        planes = [
            PillowImage.fromarray(pixels[..., k].astype(np.float32)).resize(
                (width, height), PillowImage.Resampling.BILINEAR
            )
            for k in range(channels)
        ]
        pixels = np.stack([np.asarray(plane) for plane in planes], axis=-1)
    return WorkingImage(pixels.astype(np.float32) / full, (image.shape[0], image.shape[1]))
