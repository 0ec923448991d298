"""Images to train on: an array of the model's size, or images of any sizes to crop."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Int

from jaxunreg.images import check_images
from jaxunreg.typing import AnyImages


@runtime_checkable
class SizedImages(Protocol):
    """Images that know their sizes without being decoded, such as `jaxunreg.datasets.folders.ImageFiles`.

    Attributes:
      sizes: height and width of each, integer `[n, 2]`.
      fingerprint: a hash of their contents.
    """

    @property
    def sizes(self) -> Int[np.ndarray, "n 2"]: ...

    @property
    def fingerprint(self) -> str: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> np.ndarray: ...


TrainingImages: TypeAlias = AnyImages | Sequence[Array | np.ndarray] | SizedImages
"""An array of images of the model's size; or a sequence of images of any sizes, of which crops are drawn."""


def image_sizes(images: TrainingImages) -> Int[np.ndarray, "n 2"]:
    """Height and width of each image, without decoding those that know them.

    >>> import numpy as np
    >>> image_sizes([np.zeros((20, 30, 1), np.uint8)]).tolist()
    [[20, 30]]
    """
    if isinstance(images, SizedImages):
        return np.asarray(images.sizes, np.int64)
    return np.array([image.shape[:2] for image in images], np.int64)


def check_training_images(images: TrainingImages, shape: tuple[int, ...]) -> None:
    """Check what is to be trained on against the model's input.

    Args:
      images: an array of whole images, or a sequence of images to crop.
      shape: the model's height, width and channels.

    Raises:
      TypeError: neither; not uint8 or floating point; images of several dtypes in one sequence.
      ValueError: no image, NaN, values outside [0, 1], another number of channels, an array of another size than the
        model's, or an image in a sequence that is smaller.

    >>> import numpy as np
    >>> check_training_images([np.zeros((20, 6, 1), np.uint8)], (8, 8, 1))
    Traceback (most recent call last):
    ValueError: got image 0 of 20x6; expected at least the model's 8x8; leave it out, enlarge it, or train a model on...
    """
    if isinstance(images, np.ndarray | jax.Array):
        check_images(images, (None, *shape))
        return
    if not isinstance(images, Sequence | SizedImages):
        raise TypeError(
            f"got {type(images).__name__}; expected an array of shape [N, {', '.join(map(str, shape))}], or a "
            "sequence of images to draw random crops from"
        )
    if not len(images):
        raise ValueError("got no training images; expected at least one")
    # Images on disk were looked through when they were opened.
    looked_at = [images[0]] if isinstance(images, SizedImages) else images
    for k, image in enumerate(looked_at):
        check_images(image, (None, None, shape[-1]))
        if image.dtype != looked_at[0].dtype:
            raise TypeError(
                f"got image {k} of dtype {image.dtype} after {looked_at[0].dtype}; expected one dtype; convert them all"
            )
    sizes = image_sizes(images)
    small = np.flatnonzero((sizes < np.asarray(shape[:2])).any(axis=1))
    if small.size:
        height, width = sizes[small[0]]
        raise ValueError(
            f"got image {small[0]} of {height}x{width}; expected at least the model's {shape[0]}x{shape[1]}; "
            "leave it out, enlarge it, or train a model on smaller patches"
        )


def check_whole_images(images: AnyImages, shape: tuple[int, ...], batch_size: int) -> None:
    """Check an array of images that are trained on as they are.

    Args:
      images: `[N, height, width, channels]`.
      shape: the model's height, width and channels.
      batch_size: images a step.

    Raises:
      TypeError, ValueError: see `check_training_images`; also fewer images than a batch.
    """
    check_training_images(images, shape)
    if len(images) < batch_size:
        raise ValueError(
            f"got {len(images)} training images with batch_size={batch_size}; expected at least a batch of them; "
            "lower batch_size or add images"
        )
