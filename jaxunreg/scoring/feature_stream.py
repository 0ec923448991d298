"""A stream of many images of any sizes through a feature network, at the working size, in bounded memory."""

import errno
import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float16, Num

from jaxunreg.features.network import FeatureError, FeatureMaps, FeatureNetwork, map_shape
from jaxunreg.features.tiles import look_at
from jaxunreg.padding import filled
from jaxunreg.progress import with_bar
from jaxunreg.scoring.until_error import UntilError, one_behind
from jaxunreg.scoring.working_size import WorkingImage, shrunk

# Number of pixels that pass through the network at a time. More do not fit a processor's cache.
_PIXELS_A_CALL = 2**17

# Larger sets of features are kept in a file.
_BYTES_IN_MEMORY = 2**29


def stream_working_images(
    function: Callable[[np.ndarray], Any],
    images: Iterable[Num[Array | np.ndarray, "_ _ _"]],
    size: tuple[int, int],
    channels: int,
) -> Iterator[tuple[WorkingImage, Any]]:
    """Apply a compiled function of images at the working size to each of many images of any sizes.

    All calls have the same number of images, so the function compiles once.

    Args:
      function: maps float32 `[batch, *size, channels]` in [0, 1] to a pytree of arrays `[batch, ...]`. It may return
        arrays that a device is still computing.
      images: `[height, width, channels]` each; uint8, or floating point in [0, 1]. They are read one after another.
      size: height and width of the working image.
      channels: channels of the images.

    Yields:
      For each image, in order, the image at the working size and the function's result as NumPy arrays. If an image
      raises an error, the images before it come first.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `check_images`.
    """
    working = UntilError(shrunk(image, size, channels) for image in images)
    batch = images_a_call(size)
    calls = iter(lambda: list(itertools.islice(working, batch)), [])
    begun = ((some, function(filled(np.stack([one.pixels for one in some]), batch))) for some in calls)
    for some, results in one_behind(begun):
        yield from _taken_apart(some, results)
    working.raise_error()


def images_a_call(size: tuple[int, int]) -> int:
    """Return how many images of a size pass through a network at a time.

    >>> images_a_call((64, 64)), images_a_call((4096, 4096))
    (32, 1)
    """
    return max(1, _PIXELS_A_CALL // (size[0] * size[1]))


def _taken_apart(some: list[WorkingImage], results: Any) -> Iterator[tuple[WorkingImage, Any]]:
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, results))
    for k, one in enumerate(some):
        yield one, jax.tree.unflatten(structure, [leaf[k] for leaf in leaves])


def feature_maps(
    network: FeatureNetwork,
    images: Iterable[Num[Array | np.ndarray, "_ _ _"]],
    count: int,
    size: tuple[int, int],
    channels: int,
    *,
    progress: bool = False,
) -> Float16[np.ndarray, "{count} rows columns features"]:
    """Return the features of each of many images of any sizes, at the working size.

    Features of more than 512 MB lie in a memory-mapped temporary file, which vanishes with the array.

    Args:
      network: any feature network.
      images: as for `stream_working_images`.
      count: number of images.
      size: height and width of the working image.
      channels: channels of the images.
      progress: whether to show a progress bar.

    Raises:
      FeatureError: the map does not have the size that the network states, or a feature is NaN, infinite, or beyond
        float16.
      ArgumentError, ArgumentTypeError: the errors of `check_images`, and of the network.
      OSError: the disk has too little space for the file.

    >>> from jaxunreg.features import wrap
    >>> network = wrap(lambda weights, images: images[:, ::8, ::8], (), name="thinned")
    >>> feature_maps(network, [np.zeros((50, 70, 3), np.uint8)], 1, (32, 48), channels=3).shape
    (1, 4, 6, 3)
    """
    shape = (count, *map_shape(network, *size))
    stored: np.ndarray
    if int(np.prod(shape)) * 2 <= _BYTES_IN_MEMORY:
        stored = np.empty(shape, np.float16)
    else:
        # The array keeps the nameless file until the array itself is deleted.
        with tempfile.TemporaryFile() as file:
            _reserve(file.fileno(), int(np.prod(shape)) * 2)
            stored = np.memmap(file, np.float16, mode="w+", shape=shape)
    found = stream_working_images(partial(seen, network), images, size, channels)
    for k, (_, features) in enumerate(with_bar(found, count, "looking at images", visible=progress)):
        with np.errstate(over="ignore"):
            stored[k] = features
        if not np.isfinite(stored[k]).all():
            raise FeatureError(
                f"features with NaN, with infinity or beyond {np.finfo(np.float16).max:g}, first in image {k}",
                "finite numbers of a moderate size",
                "look at that image and at the feature network",
            )
    return stored


def _reserve(descriptor: int, nbytes: int) -> None:
    """Reserve the space on disk if the system can: writing to a mapped file on a full disk kills a process."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, nbytes)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # file systems that do not reserve
                raise


@jax.jit
def seen(network: FeatureNetwork, images: Float[Array | np.ndarray, "batch _ _ _"]) -> FeatureMaps:
    """Return the features of a network, by one compiled program that all callers share.

    >>> from jaxunreg.features import wrap
    >>> network = wrap(lambda weights, images: images[:, ::8, ::8], (), name="thinned")
    >>> seen(network, np.zeros((1, 32, 48, 3), np.float32)).shape
    (1, 4, 6, 3)
    """
    return look_at(network, jnp.asarray(images))


def check_network(network: FeatureNetwork, size: tuple[int, int], channels: int) -> None:
    """Refuse a network that does not take images of a size, before it runs.

    Raises:
      FeatureError: the map is not as large as the network says.
      ArgumentError: the errors of the network.

    >>> from jaxunreg.features import wrap
    >>> network = wrap(lambda weights, images: images[:, ::8, ::8], (), name="thinned")
    >>> check_network(network, (32, 48), channels=3)
    """
    images = jax.ShapeDtypeStruct((1, *size, channels), jnp.float32)
    found = tuple(jax.eval_shape(lambda network, images: network(images), network, images).shape)
    if found != (1, *map_shape(network, *size)):
        raise FeatureError(
            f"a map of shape {list(found[1:])} from the feature network {network.name} for an image of "
            f"{size[0]}x{size[1]}",
            str(list(map_shape(network, *size))),
            "make its stride and channels agree with its result",
        )
