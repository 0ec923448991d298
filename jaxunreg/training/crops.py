"""Random crops of images of any sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.training.training_images import TrainingImages, check_training_images, image_sizes
from jaxunreg.typing import PRNGKey

# The numbers that are folded into a run's key for the crops and for the order of images. The noise of a step is drawn
# from the same key, so they are above the number of any step.
CROPS, ORDER = 2**32 - 1, 2**32 - 2


def crop_corners(
    key: PRNGKey,
    steps: Int[np.ndarray, " count"],
    sizes: Int[np.ndarray, "count n 2"],
    patch: tuple[int, int],
) -> Int[np.ndarray, "count n 2"]:
    """Return the corners of the crops of some steps in their images.

    Args:
      key: PRNG key. Step k draws from `fold_in(key, k)`, so the crops do not depend on who cuts them, or when.
      steps: numbers of the steps.
      sizes: height and width of each image of each step.
      patch: height and width of a crop.

    Returns:
      Row and column of the upper left corners, int64, uniform over all places where a crop fits.

    >>> import jax, numpy as np
    >>> corners = crop_corners(jax.random.key(0), np.arange(1), np.tile([8, 20], (1, 100, 1)), (8, 8))
    >>> corners.min(axis=(0, 1)).tolist(), corners.max(axis=(0, 1)).tolist()
    ([0, 0], [0, 12])
    """
    draws = np.asarray(_uniform(key, jnp.asarray(steps), sizes.shape[1]), np.float64)
    # In float64, so that the product cannot round up to the number of places.
    return (draws * (sizes - np.asarray(patch) + 1)).astype(np.int64)


@functools.partial(jax.jit, static_argnums=2)
def _uniform(key: PRNGKey, steps: Int[Array, " count"], n: int) -> Float[Array, "count n 2"]:
    return jax.vmap(lambda step: jax.random.uniform(jax.random.fold_in(key, step), (n, 2)))(steps)


def random_crops(
    key: PRNGKey, images: TrainingImages, patch: tuple[int, int], *, per_image: int = 1
) -> Num[np.ndarray, "crops height width channels"]:
    """Cut random crops of every image, for models that are not trained by steps, and for held-out curves.

    Args:
      key: PRNG key.
      images: a sequence of images `[height, width, channels]`, each at least as large as a crop.
      patch: height and width of a crop.
      per_image: crops of each image.

    Returns:
      `[images * per_image, *patch, channels]`, image by image, the dtype of the images.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `check_training_images`; also `per_image` below one.

    >>> import jax, numpy as np
    >>> images = [np.zeros((20, 30, 1), np.uint8), np.zeros((9, 12, 1), np.uint8)]
    >>> random_crops(jax.random.key(0), images, (8, 8), per_image=3).shape
    (6, 8, 8, 1)
    """
    if per_image < 1:
        raise ArgumentError(argument("per_image", per_image), "at least 1", f"raise {argument('per_image')}")
    check_training_images(images, (*patch, images[0].shape[-1] if len(images) else 1))
    sizes = np.repeat(image_sizes(images)[None], per_image, axis=0)
    corners = crop_corners(key, np.arange(per_image), sizes, patch)
    return np.concatenate([cut(images[k], corners[:, k], patch) for k in range(len(images))])


def cut(image: Array | np.ndarray, corners: np.ndarray, patch: tuple[int, int]) -> np.ndarray:
    """Cut the crops of one image at these corners, `[n, *patch, channels]`."""
    pixels = np.asarray(image)
    return np.stack([pixels[row : row + patch[0], column : column + patch[1]] for row, column in corners])
