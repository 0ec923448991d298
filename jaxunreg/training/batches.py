"""What a training step sees: whole images in random order, or random crops."""

import functools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Protocol, runtime_checkable

import grain
import jax
import jax.numpy as jnp
import numpy as np
import psutil
from jax.sharding import Mesh
from jaxtyping import Array, Int

from jaxunreg.padding import filled
from jaxunreg.parallel.mesh import own_columns, replicate, split_columns
from jaxunreg.serialization import fingerprint
from jaxunreg.training.crops import CROPS, ORDER, crop_corners, cut
from jaxunreg.training.training_images import (
    SizedImages,
    TrainingImages,
    check_training_images,
    check_whole_images,
    image_sizes,
)
from jaxunreg.typing import AnyImages, PRNGKey

# What threads may read ahead.
_BYTES_AHEAD = 2**28

# What a 32-bit index reaches.
_MOST_PIXELS = 2**31 - 1


def batch_indices(key: PRNGKey, images: int, batch_size: int, start: int, count: int) -> np.ndarray:
    """Which images each of the steps `start .. start + count` sees.

    The batches are cut from an endless row of random permutations, one an epoch, so every image counts exactly once
    an epoch and any step's batch is known without running those before it.

    Args:
      key: PRNG key; epoch e draws from a stream of its own, which step e's noise, `fold_in(key, e)`, does not share.
      images: how many images there are.
      batch_size: images a step.
      start: first step.
      count: steps.

    Returns:
      int32 `[count, batch_size]`.

    >>> import jax
    >>> sorted(batch_indices(jax.random.key(0), 6, 2, 0, 3).ravel().tolist())
    [0, 1, 2, 3, 4, 5]
    """
    first, last = start * batch_size, (start + count) * batch_size
    epochs = range(first // images, -(-last // images))
    row = np.concatenate([_permutation(key, epoch, images) for epoch in epochs])
    offset = epochs.start * images
    return row[first - offset : last - offset].reshape(count, batch_size)


def _permutation(key: PRNGKey, epoch: int, images: int) -> np.ndarray:
    key = jax.random.fold_in(jax.random.fold_in(key, ORDER), epoch)
    return np.asarray(jax.random.permutation(key, images), np.int32)


def select(source: Array, indices: Int[Array, "..."], shape: tuple[int, ...]) -> Array:
    """One step's images, inside the compiled program.

    Args:
      source: whole images `[N, height, width, channels]`; the pixels of all images one after another
        `[pixels, channels]`; or the batches of some steps `[steps, batch, height, width, channels]`.
      indices: rows of `source`, `[batch]`; for each crop its first pixel and the width of its image, `[batch, 2]`; or
        which of the batches, a scalar.
      shape: of one image of the batch.

    Returns:
      `[batch, height, width, channels]`.

    >>> import jax.numpy as jnp
    >>> pixels = jnp.arange(12).reshape(12, 1)  # one image, 3 rows of 4
    >>> select(pixels, jnp.array([[5, 4]]), (2, 2, 1))[0, :, :, 0].tolist()
    [[5, 6], [9, 10]]
    """
    if indices.ndim < 2:
        return source[indices]
    first, width = indices[:, :1], indices[:, 1:]
    rows = first + width * jnp.arange(shape[0], dtype=indices.dtype).reshape(1, -1)
    return source[rows[:, :, None] + jnp.arange(shape[1], dtype=indices.dtype).reshape(1, 1, -1)]


@runtime_checkable
class Batches(Protocol):
    """What feeds training."""

    description: dict[str, Any]
    """What identifies the images, JSON data."""

    def steps(self, start: int, count: int) -> tuple[Array, Int[Array | np.ndarray, "steps ..."]]:
        """The arguments of `select` for the steps `start .. start + count`, filled up to the steps of a dispatch."""
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
    """What feeds training with these images; see `TrainConfig` for the arguments.

    Args:
      images: an array of whole images, or a sequence of images to crop.
      shape: the model's height, width and channels.
      key: PRNG key; the same key gives the same batches, whatever `on_device` and `threads`.
      batch_size: images a step.
      steps: in all.
      steps_per_dispatch: that `Batches.steps` is filled up to.
      on_device: keep all images in the device's memory.
      threads: that read ahead, where they do not stay there.
      mesh: the devices over which each batch is split. Images that stay in memory are on each of them; of others each
        process reads those of its own devices alone. With several processes `auto` is the latter.

    Returns:
      Whole images in random order, or random crops.

    Raises:
      TypeError, ValueError: see `check_training_images`; also fewer whole images than a batch, or a batch that the
        number of devices does not divide.

    >>> import jax, numpy as np
    >>> images = [np.zeros((20, 30, 1), np.uint8)]
    >>> how = dict(batch_size=4, steps=9, steps_per_dispatch=3, on_device="yes", threads=0)
    >>> source, indices = make_batches(images, (8, 8, 1), jax.random.key(0), **how).steps(0, 3)
    >>> source.shape, indices.shape
    ((600, 1), (3, 4, 2))
    """
    if isinstance(images, np.ndarray | jax.Array):
        check_whole_images(images, shape, batch_size)
        nbytes, reachable = images.nbytes, True
    else:
        check_training_images(images, shape)
        pixels = int(image_sizes(images).prod(axis=1).sum())
        nbytes, reachable = pixels * shape[-1] * images[0].dtype.itemsize, pixels <= _MOST_PIXELS
    # Not by the memory that happens to be free here, where all processes must choose alike.
    several = mesh is not None and mesh.is_multi_process
    resident = on_device == "yes" or (not several and reachable and stay_on_device(nbytes, on_device))
    feed = _Feed(mesh, batch_size, steps_per_dispatch)
    if isinstance(images, np.ndarray | jax.Array):
        return _WholeImages(images, key, feed, resident=resident)
    plan = _CropPlan(key, image_sizes(images), shape[:2], batch_size, steps_per_dispatch)
    if resident:
        return _ResidentCrops(images, plan, feed)
    return _StreamedCrops(images, plan, feed, steps, threads)


def stay_on_device(nbytes: int, on_device: Literal["auto", "yes", "no"]) -> bool:
    """Whether so many bytes of images are to be kept in the device's memory; see `TrainConfig.images_on_device`."""
    return nbytes <= _free_memory() / 2 if on_device == "auto" else on_device == "yes"


def _free_memory() -> float:
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return float(psutil.virtual_memory().available)


class _Feed:
    """Where the arguments of `select` go: to the default device, or over a mesh."""

    def __init__(self, mesh: Mesh | None, batch_size: int, a_dispatch: int) -> None:
        self.batch_size, self.a_dispatch = batch_size, a_dispatch
        self.own = slice(0, batch_size) if mesh is None else own_columns(mesh, batch_size)
        self._mesh = mesh

    def resident(self, source: Array | np.ndarray) -> Array:
        """What stays on each device."""
        return jnp.asarray(source) if self._mesh is None else replicate(source, self._mesh)

    def rows(self, source: Array, indices: np.ndarray) -> tuple[Array, Array | np.ndarray]:
        """What `steps` returns where `indices`, `[steps, batch, ...]`, point into what stays there."""
        indices = filled(indices, self.a_dispatch)
        return source, indices if self._mesh is None else self._split(indices[:, self.own])

    def batches(self, images: np.ndarray) -> tuple[Array, np.ndarray]:
        """What `steps` returns where the images of the steps are sent, this process's own `[steps, own, ...]`."""
        images = filled(images, self.a_dispatch)
        if self._mesh is not None:
            return self._split(images), np.arange(self.a_dispatch, dtype=np.int32)
        # Gathered as from images that stay there, so that the program rounds alike.
        indices = np.arange(self.a_dispatch * self.batch_size, dtype=np.int32).reshape(self.a_dispatch, -1)
        return jnp.asarray(images.reshape(-1, *images.shape[2:])), indices

    def _split(self, columns: np.ndarray) -> Array:
        assert self._mesh is not None
        return split_columns(columns, self._mesh, self.batch_size)


class _WholeImages:
    def __init__(self, images: AnyImages, key: PRNGKey, feed: _Feed, *, resident: bool) -> None:
        self.description = {"shape": list(images.shape), "sha256": fingerprint(images)}
        self._images, self._key, self._feed = images, key, feed
        self._resident = feed.resident(images) if resident else None

    def steps(self, start: int, count: int) -> tuple[Array, Array | np.ndarray]:
        indices = batch_indices(self._key, len(self._images), self._feed.batch_size, start, count)
        if self._resident is not None:
            return self._feed.rows(self._resident, indices)
        return self._feed.batches(np.asarray(self._images)[indices[:, self._feed.own]])


class _CropPlan:
    """Which image each crop of each step is cut from, and where."""

    def __init__(
        self, key: PRNGKey, sizes: np.ndarray, patch: tuple[int, ...], batch_size: int, a_dispatch: int
    ) -> None:
        self.sizes, self.patch, self.batch_size, self.a_dispatch = sizes, (patch[0], patch[1]), batch_size, a_dispatch
        self._image_key, self._corner_key = jax.random.split(jax.random.fold_in(key, CROPS))
        # Threads that read ahead ask for steps of one block at about the same time.
        self._block = functools.lru_cache(maxsize=8)(self._drawn)

    def step(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Images `[batch]` and corners `[batch, 2]` of one step."""
        block, k = divmod(step, self.a_dispatch)
        images, corners = self._block(block)
        return images[k], corners[k]

    def _drawn(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        start = block * self.a_dispatch
        images = batch_indices(self._image_key, len(self.sizes), self.batch_size, start, self.a_dispatch)
        steps = np.arange(start, start + self.a_dispatch, dtype=np.int32)
        return images, crop_corners(self._corner_key, steps, self.sizes[images], self.patch)


class _ResidentCrops:
    """All pixels in one array on the device; a step gathers its crops from it."""

    def __init__(self, images: Sequence[Array | np.ndarray] | SizedImages, plan: _CropPlan, feed: _Feed) -> None:
        self.description = _describe_crops(images, plan)
        self._plan, self._feed = plan, feed
        areas = plan.sizes.prod(axis=1)
        self._first = np.concatenate([[0], np.cumsum(areas)])
        if self._first[-1] > _MOST_PIXELS:
            raise ValueError(
                f"got {self._first[-1]} pixels with images_on_device='yes'; expected at most 2^31 - 1, which a 32-bit "
                "index reaches; use images_on_device='no'"
            )
        sample = np.asarray(images[0])
        pixels = np.empty((self._first[-1], sample.shape[-1]), sample.dtype)

        def read(k: int) -> None:
            pixels[self._first[k] : self._first[k + 1]] = np.asarray(images[k]).reshape(-1, sample.shape[-1])

        with ThreadPoolExecutor() as pool:
            for _ in pool.map(read, range(len(images))):
                pass
        self._pixels = feed.resident(pixels)

    def steps(self, start: int, count: int) -> tuple[Array, Array | np.ndarray]:
        indices = np.empty((count, self._plan.batch_size, 2), np.int32)
        for k in range(count):
            images, corners = self._plan.step(start + k)
            widths = self._plan.sizes[images, 1]
            indices[k, :, 0] = self._first[images] + corners[:, 0] * widths + corners[:, 1]
            indices[k, :, 1] = widths
        return self._feed.rows(self._pixels, indices)


class _StreamedCrops:
    """Images are read and cropped by threads while the device trains."""

    def __init__(
        self,
        images: Sequence[Array | np.ndarray] | SizedImages,
        plan: _CropPlan,
        feed: _Feed,
        steps: int,
        threads: int,
    ) -> None:
        self.description = _describe_crops(images, plan)
        self._images, self._plan, self._feed, self._steps, self._threads = images, plan, feed, steps, threads
        self._next = -1
        self._iterator: Iterator[np.ndarray] = iter(())

    def steps(self, start: int, count: int) -> tuple[Array, np.ndarray]:
        if start != self._next:
            self._iterator = self._reading_from(start)
        self._next = start + count
        return self._feed.batches(np.stack([next(self._iterator) for _ in range(count)]))

    def _reading_from(self, start: int) -> Iterator[np.ndarray]:
        first = np.asarray(self._images[0])
        nbytes = self._plan.batch_size * math.prod(self._plan.patch) * first.shape[-1] * first.itemsize
        ahead = min(2 * self._plan.a_dispatch, max(2, _BYTES_AHEAD // nbytes)) if self._threads else 0
        options = grain.ReadOptions(num_threads=self._threads, prefetch_buffer_size=ahead)
        return iter(grain.MapDataset.range(start, self._steps).map(self._crops).to_iter_dataset(options))

    def _crops(self, step: int) -> np.ndarray:
        images, corners = (rows[self._feed.own] for rows in self._plan.step(int(step)))
        return np.concatenate(
            [
                cut(self._images[int(image)], corner[None], self._plan.patch)
                for image, corner in zip(images, corners, strict=True)
            ]
        )


def _describe_crops(images: Sequence[Array | np.ndarray] | SizedImages, plan: _CropPlan) -> dict[str, Any]:
    content = images.fingerprint if isinstance(images, SizedImages) else fingerprint(list(images))
    return {"crops_of": len(images), "pixels": int(plan.sizes.prod(axis=1).sum()), "sha256": content}
