"""Images to train on: an array of the model's size, or images of any sizes to crop."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias, TypeGuard, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Int

from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument
from jaxunreg.images import check_images
from jaxunreg.typing import AnyImages


@runtime_checkable
class ImageSequence(Protocol):
    """A sequence of images of any sizes: a list of arrays, or images that are read when they are used."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Array | np.ndarray: ...


class SizedImages(ImageSequence, Protocol):
    """Images that know their sizes without being decoded, such as `jaxunreg.datasets.folders.ImageFiles`.

    Do not use it with `isinstance`: in Python 3.11 that reads `fingerprint`, and so every file. Use `knows_sizes`.
    """

    @property
    def sizes(self) -> Int[np.ndarray, "n 2"]:
        """Height and width of each image, integers."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash of the contents. It may read all images."""
        ...


TrainingImages: TypeAlias = AnyImages | ImageSequence
"""An array of images of the model's size; or a sequence of images of any sizes, from which crops are drawn."""


def knows_sizes(images: object) -> TypeGuard[SizedImages]:
    """Return whether images know their sizes without being decoded. Nothing else of them is read.

    >>> import numpy as np
    >>> knows_sizes([np.zeros((20, 30, 1), np.uint8)])
    False
    """
    return hasattr(images, "sizes")


def image_sizes(images: TrainingImages) -> Int[np.ndarray, "n 2"]:
    """Return height and width of each image, without decoding images that know their sizes.

    >>> import numpy as np
    >>> image_sizes([np.zeros((20, 30, 1), np.uint8)]).tolist()
    [[20, 30]]
    """
    if knows_sizes(images):
        return np.asarray(images.sizes, np.int64)
    return np.array([images[k].shape[:2] for k in range(len(images))], np.int64)


def check_training_images(images: TrainingImages, shape: tuple[int, ...]) -> None:
    """Check that a model can be trained on these images.

    Args:
      images: an array of whole images, or a sequence of images to crop.
      shape: the model's height, width and channels.

    Raises:
      ArgumentTypeError: `images` is neither; its dtype is not uint8 or floating point; or dtypes differ in a sequence.
      ArgumentError: no image, NaN, values outside [0, 1], another number of channels, an array of another size than the
        model's, or an image in a sequence that is smaller than the model's.

    >>> import numpy as np
    >>> check_training_images([np.zeros((20, 6, 1), np.uint8)], (8, 8, 1))
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got image 0 of 20x6; expected at least the model's 8x8; leave it out, ...
    """
    if isinstance(images, np.ndarray | jax.Array):
        check_images(images, (None, *shape))
        return
    if not isinstance(images, Sequence) and not knows_sizes(images):
        raise ArgumentTypeError(
            type(images).__name__,
            f"an array of shape [N, {', '.join(map(str, shape))}], or a sequence of images to draw random crops from",
            "put the images into a list",
            field="images",
        )
    if not len(images):
        raise ArgumentError("no training images", "at least one", "add images", field="images")
    # Images on disk were checked when they were opened.
    first = images[0]
    for k in range(1 if knows_sizes(images) else len(images)):
        image = images[k] if k else first
        check_images(image, (None, None, shape[-1]))
        if image.dtype != first.dtype:
            raise ArgumentTypeError(
                f"image {k} of dtype {image.dtype} after {first.dtype}",
                "one dtype",
                "convert them all",
                field="images",
            )
    sizes = image_sizes(images)
    small = np.flatnonzero((sizes < np.asarray(shape[:2])).any(axis=1))
    if small.size:
        height, width = sizes[small[0]]
        raise ArgumentError(
            f"image {small[0]} of {height}x{width}",
            f"at least the model's {shape[0]}x{shape[1]}",
            "leave it out, enlarge it, or train a model on smaller patches",
            field="images",
        )


def check_whole_images(images: AnyImages, shape: tuple[int, ...], batch_size: int) -> None:
    """Check an array of whole images for training.

    Args:
      images: `[N, height, width, channels]`.
      shape: the model's height, width and channels.
      batch_size: images a step.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `check_training_images`; also fewer images than a batch.
    """
    check_training_images(images, shape)
    if len(images) < batch_size:
        raise ArgumentError(
            f"{len(images)} training images with {argument('batch_size', batch_size)}",
            "at least a batch of them",
            f"lower {argument('batch_size')} or add images",
        )
