"""The choice of batches for some images: whole images in random order, or random crops."""

from typing import Any, Literal, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Int

from jaxunreg.training.batches.crop_plan import CropPlan
from jaxunreg.training.batches.feed import Feed
from jaxunreg.training.batches.memory import check_batch_fits, stay_on_device
from jaxunreg.training.batches.resident_crops import MOST_PIXELS, ResidentCrops
from jaxunreg.training.batches.streamed_crops import StreamedCrops
from jaxunreg.training.batches.whole_images import WholeImages
from jaxunreg.training.training_images import (
    TrainingImages,
    check_training_images,
    check_whole_images,
    image_sizes,
)
from jaxunreg.typing import PRNGKey


@runtime_checkable
class Batches(Protocol):
    """A source of batches for training."""

    def describe(self) -> dict[str, Any]:
        """Return JSON data that identifies the images. It may read all of them, so call it only where it is used."""
        ...

    def steps(self, start: int, count: int) -> tuple[Array, Int[Array | np.ndarray, "steps ..."]]:
        """Return the arguments of `select` for the steps `start .. start + count`, filled up to a dispatch."""
        ...


def make_batches(
    images: TrainingImages,
    shape: tuple[int, ...],
    key: PRNGKey,
    *,
    batch_size: int,
    steps: int,
    steps_per_dispatch: int,
    on_device: Literal["auto", "yes", "no"],
    threads: int,
    mesh: Mesh | None = None,
) -> Batches:
    """Make batches of these images for training; see `TrainConfig` for the arguments.

    Args:
      images: an array of whole images, or a sequence of images to crop.
      shape: the model's height, width and channels.
      key: PRNG key; the same key gives the same batches, whatever `on_device` and `threads`.
      batch_size: images a step.
      steps: steps in all.
      steps_per_dispatch: number of steps to which `Batches.steps` is filled up.
      on_device: keep all images in the device's memory.
      threads: threads that read ahead, where the images do not stay on the device.
      mesh: the devices over which each batch is split. Images that stay in memory are copied to each device. Otherwise
        each process reads only the images of its own devices. With several processes, `auto` chooses this.

    Returns:
      Whole images in random order, or random crops.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `check_training_images`; also fewer whole images than a batch, a
        batch that is larger than the memory, or a batch that the number of devices does not divide.

    >>> import jax, numpy as np
    >>> images = [np.zeros((20, 30, 1), np.uint8)]
    >>> how = dict(batch_size=4, steps=9, steps_per_dispatch=3, on_device="yes", threads=0)
    >>> source, indices = make_batches(images, (8, 8, 1), jax.random.key(0), **how).steps(0, 3)
    >>> source.shape, indices.shape
    ((600, 1), (3, 4, 2))
    """
    check_batch_fits(batch_size, int(np.prod(shape)))
    if isinstance(images, np.ndarray | jax.Array):
        check_whole_images(images, shape, batch_size)
        nbytes, reachable = images.nbytes, True
    else:
        check_training_images(images, shape)
        pixels = int(image_sizes(images).prod(axis=1).sum())
        nbytes, reachable = pixels * shape[-1] * images[0].dtype.itemsize, pixels <= MOST_PIXELS
    # The free memory of this process must not decide here, because all processes must choose alike.
    several = mesh is not None and mesh.is_multi_process
    resident = on_device == "yes" or (not several and reachable and stay_on_device(nbytes, on_device))
    feed = Feed(mesh, batch_size, steps_per_dispatch)
    if isinstance(images, np.ndarray | jax.Array):
        return WholeImages(images, key, feed, resident=resident)
    plan = CropPlan(key, image_sizes(images), shape[:2], batch_size, steps_per_dispatch)
    if resident:
        return ResidentCrops(images, plan, feed)
    return StreamedCrops(images, plan, feed, steps, threads)
