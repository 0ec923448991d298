"""The toy anomaly (section IV.A): gray squares erased at random places of otherwise normal images."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument
from jaxunreg.integers import check_integer
from jaxunreg.signatures import check_fields

# One seed feeds two independent streams, so that a contaminated training split and an erased test split have their
# squares at different places.
_ERASE_STREAM = 0

_CONTAMINATE_STREAM = 1


class Erased(NamedTuple):
    """Images with one gray square each.

    Attributes:
      images: uint8 `[n, height, width, channels]`.
      boxes: int64 `[n, 2]`, the row and the column of each square's upper left pixel.
    """

    images: UInt8[np.ndarray, "n height width channels"]
    boxes: Int64[np.ndarray, "n 2"]


class Contaminated(NamedTuple):
    """Images, a few of them with one gray square.

    Attributes:
      images: uint8 `[n, height, width, channels]`.
      anomalous: bool `[n]`, whether each image has a square.
      boxes: int64 `[anomalous.sum(), 2]`, the squares of `images[anomalous]` in that order: the row and
        the column of the upper left pixel.
    """

    images: UInt8[np.ndarray, "n height width channels"]
    anomalous: Bool[np.ndarray, " n"]
    boxes: Int64[np.ndarray, "k 2"]


@dataclass(frozen=True)
class EraseConfig:
    """The look and the rate of the toy anomaly.

    The paper gives the size (4x4) and the rate (1 %). It does not say the gray level, or whether it varies. The default
    is the middle of the range for every square.

    Attributes:
      size: side of the square in pixels.
      value: gray level of the square in [0, 1]; every channel becomes `round(255 * value)`.
      rate: fraction of the images that `contaminate` erases, in [0, 1].
      seed: seed of the places and of the choice of images, not negative.

    Raises:
      ArgumentTypeError: `size` or `seed` is not an integer.
      ArgumentError: a field is out of its range.

    >>> EraseConfig(size=4, value=2.0)
    Traceback (most recent call last):
      ...
    jaxunreg.errors.ArgumentError: got value=2.0 as the gray level of the square; expected a number in [0, 1]; ...
    """

    size: int = 4
    value: float = 0.5
    rate: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        check_integer("size", self.size, at_least=1)
        check_integer("seed", self.seed, at_least=0)
        if not (math.isfinite(self.value) and 0.0 <= self.value <= 1.0):
            raise ArgumentError(
                f"{argument('value', self.value)} as the gray level of the square",
                "a number in [0, 1]",
                f"set {argument('value')} to the level divided by 255",
            )
        if not (math.isfinite(self.rate) and 0.0 <= self.rate <= 1.0):
            raise ArgumentError(
                f"{argument('rate', self.rate)} as the rate of erased images",
                "a number in [0, 1]",
                f"set {argument('rate')} to a fraction, 0.01 for one image in a hundred",
            )


def erase(
    images: UInt8[np.ndarray, "n height width channels"], config: EraseConfig, *, seed: int | None = None
) -> Erased:
    """Erase one square of every image, at a place uniform over all places wholly inside the image.

    Args:
      images: uint8 `[n, height, width, channels]`; left as they are.
      config: the square. Its `rate` is not used.
      seed: replaces `config.seed`.

    Returns:
      A changed copy of the images, in the same order, and the squares.

    Raises:
      ArgumentTypeError: the images are not an array of uint8.
      ArgumentError: the images are not of rank 4, are empty, or are smaller than the square.

    >>> import numpy as np
    >>> images = np.zeros((3, 8, 8, 1), np.uint8)
    >>> erased = erase(images, EraseConfig(size=2, value=1.0))
    >>> erased.images.sum(axis=(1, 2, 3)).tolist()
    [1020, 1020, 1020]
    >>> int(images.max())
    0
    """
    _check_images(images, config.size)
    if seed is None:
        seed = config.seed
    check_integer("seed", seed, at_least=0)
    boxes = _draw_boxes(_generator(seed, _ERASE_STREAM), len(images), images.shape[1:3], config.size)
    return Erased(_paint(images, np.arange(len(images)), boxes, config), boxes)


def contaminate(images: UInt8[np.ndarray, "n height width channels"], config: EraseConfig) -> Contaminated:
    """Erase one square of exactly `round(rate * n)` images, chosen without replacement.

    Args:
      images: uint8 `[n, height, width, channels]`; left as they are.
      config: the square, the rate and the seed. The places are independent of those of `erase` under the
        same seed.

    Returns:
      A copy of the images in their order, whether each is anomalous, and the squares of the anomalous images. With few
      images and a small rate there is no anomalous image: `round(0.01 * 40)` is 0.

    Raises:
      ArgumentTypeError: the images are not an array of uint8.
      ArgumentError: the images are not of rank 4, are empty, or are smaller than the square.

    >>> import numpy as np
    >>> contaminated = contaminate(np.zeros((200, 8, 8, 3), np.uint8), EraseConfig(rate=0.01))
    >>> int(contaminated.anomalous.sum()), contaminated.boxes.shape
    (2, (2, 2))
    """
    _check_images(images, config.size)
    count = round(config.rate * len(images))
    generator = _generator(config.seed, _CONTAMINATE_STREAM)
    chosen = np.sort(generator.choice(len(images), size=count, replace=False))
    boxes = _draw_boxes(generator, count, images.shape[1:3], config.size)
    anomalous = np.zeros(len(images), np.bool_)
    anomalous[chosen] = True
    return Contaminated(_paint(images, chosen, boxes, config), anomalous, boxes)


def anomaly_masks(
    boxes: Int64[np.ndarray, "n 2"], image_shape: tuple[int, ...], size: int
) -> Bool[np.ndarray, "n height width"]:
    """Return the ground truth of the squares, pixel by pixel.

    Args:
      boxes: int64 `[n, 2]`, rows and columns of the upper left pixels.
      image_shape: `(height, width)` or `(height, width, channels)`.
      size: side of the squares in pixels.

    Returns:
      bool `[n, height, width]`, true inside the square.

    Raises:
      ArgumentTypeError: the boxes are not an array of integers, or `size` is not an integer.
      ArgumentError: the shapes are not as above, or a square does not lie wholly inside the image.

    >>> import numpy as np
    >>> anomaly_masks(np.array([[1, 0]]), (3, 3), 2).astype(int).tolist()
    [[[0, 0, 0], [1, 1, 0], [1, 1, 0]]]
    """
    check_integer("size", size, at_least=1)
    if len(image_shape) not in (2, 3):
        raise ArgumentError(
            argument("image_shape", image_shape),
            "(height, width) or (height, width, channels)",
            "leave out the number of images: images.shape[1:]",
        )
    if not isinstance(boxes, np.ndarray) or not np.issubdtype(boxes.dtype, np.integer):
        raise ArgumentTypeError(
            f"{_describe(boxes)} as {argument('boxes')}", "integers of shape [n, 2]", "pass erased.boxes"
        )
    if boxes.ndim != 2 or boxes.shape[1] != 2:
        raise ArgumentError(
            f"{_describe(boxes)} as {argument('boxes')}", "integers of shape [n, 2]", "pass erased.boxes"
        )
    height, width = image_shape[:2]
    outside = (boxes < 0).any(axis=1) | (boxes > np.array([height - size, width - size])).any(axis=1)
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        raise ArgumentError(
            f"box {first} with its upper left pixel at {boxes[first].tolist()}, which puts a {size}x{size} square "
            f"outside an image of {height}x{width}",
            "squares inside the image",
            "pass the size and the image shape that made the boxes",
            field="boxes",
        )
    row = np.arange(height) - boxes[:, :1]
    column = np.arange(width) - boxes[:, 1:]
    in_rows = (row >= 0) & (row < size)
    in_columns = (column >= 0) & (column < size)
    return in_rows[:, :, None] & in_columns[:, None, :]


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream,))))


def _draw_boxes(
    generator: np.random.Generator, n: int, image_size: tuple[int, ...], size: int
) -> Int64[np.ndarray, "n 2"]:
    places = np.array(image_size) - size + 1
    return generator.integers(places, size=(n, 2), dtype=np.int64)


def _paint(
    images: UInt8[np.ndarray, "n height width channels"],
    rows: Int64[np.ndarray, " k"],
    boxes: Int64[np.ndarray, "k 2"],
    config: EraseConfig,
) -> UInt8[np.ndarray, "n height width channels"]:
    painted = images.copy()
    span = np.arange(config.size)
    top = boxes[:, 0, None, None] + span[:, None]
    left = boxes[:, 1, None, None] + span
    painted[rows[:, None, None], top, left] = round(255 * config.value)
    return painted


def _check_images(images: object, size: int) -> None:
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        raise ArgumentTypeError(
            f"{_describe(images)} as {argument('images')}",
            "a NumPy array of uint8 [n, height, width, channels]",
            "convert floats in [0, 1] with np.round(255 * images).astype(np.uint8)",
        )
    if images.ndim != 4:
        raise ArgumentError(
            f"{_describe(images)} as {argument('images')}",
            "rank 4 [n, height, width, channels]",
            "add the missing axis, e.g. images[..., None] for gray images",
        )
    if images.size == 0:
        raise ArgumentError(
            f"{_describe(images)} as {argument('images')}, which holds no pixel",
            "at least one image with at least one channel",
            "pass more of them",
        )
    if size > min(images.shape[1:3]):
        raise ArgumentError(
            f"{argument('size', size)}, and a {size}x{size} square does not fit into images of "
            f"{images.shape[1]}x{images.shape[2]} pixels",
            f"at most {min(images.shape[1:3])}",
            f"lower {argument('size')}",
        )


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of {value.dtype} with shape {list(value.shape)}"
    return f"a {type(value).__name__}"
