"""What a training step sees: whole images in random order, or random crops of images of any size."""

import functools
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import grain
import jax
import jax.numpy as jnp
import numpy as np
import psutil
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Num

from jaxunreg.checkpoint import fingerprint
from jaxunreg.images import check_images
from jaxunreg.parallel import own_columns, replicate, split_columns
from jaxunreg.scoring import filled
from jaxunreg.typing import AnyImages, PRNGKey

# The streams of the crops and of the order of images among those that are folded into a run's key: above the number of
# any step, whose noise is drawn from the same key.
_CROPS, _ORDER = 2**32 - 1, 2**32 - 2
# What threads may read ahead.
_BYTES_AHEAD = 2**28
# What a 32-bit index reaches.
_MOST_PIXELS = 2**31 - 1


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
    key = jax.random.fold_in(jax.random.fold_in(key, _ORDER), epoch)
    return np.asarray(jax.random.permutation(key, images), np.int32)


def crop_corners(
    key: PRNGKey,
    steps: Int[np.ndarray, " count"],
    sizes: Int[np.ndarray, "count n 2"],
    patch: tuple[int, int],
) -> Int[np.ndarray, "count n 2"]:
    """Where the crops of some steps lie in their images.

    Args:
      key: PRNG key; step k draws from `fold_in(key, k)`, so the crops do not depend on who cuts them, or when.
      steps: their numbers.
      sizes: height and width of each image of each step.
      patch: height and width of a crop.

    Returns:
      Row and column of the upper left corners, uniform over all that fit, int64.

    >>> import jax, numpy as np
    >>> corners = crop_corners(jax.random.key(0), np.arange(1), np.tile([8, 20], (1, 100, 1)), (8, 8))
    >>> corners.min(axis=(0, 1)).tolist(), corners.max(axis=(0, 1)).tolist()
    ([0, 0], [0, 12])
    """
    draws = np.asarray(_uniform(key, jnp.asarray(steps), sizes.shape[1]), np.float64)
    # In float64, where the product cannot round up to the number of places itself.
    return (draws * (sizes - np.asarray(patch) + 1)).astype(np.int64)


@functools.partial(jax.jit, static_argnums=2)
def _uniform(key: PRNGKey, steps: Int[Array, " count"], n: int) -> Float[Array, "count n 2"]:
    return jax.vmap(lambda step: jax.random.uniform(jax.random.fold_in(key, step), (n, 2)))(steps)


def random_crops(
    key: PRNGKey, images: TrainingImages, patch: tuple[int, int], *, per_image: int = 1
) -> Num[np.ndarray, "crops height width channels"]:
    """Random crops of every image, for models that are not trained by steps, and for held-out curves.

    Args:
      key: PRNG key.
      images: a sequence of images `[height, width, channels]`, each at least as large as a crop.
      patch: height and width of a crop.
      per_image: crops of each image.

    Returns:
      `[images * per_image, *patch, channels]`, image by image, the dtype of the images.

    Raises:
      TypeError, ValueError: see `check_training_images`; also `per_image` below one.

    >>> import jax, numpy as np
    >>> images = [np.zeros((20, 30, 1), np.uint8), np.zeros((9, 12, 1), np.uint8)]
    >>> random_crops(jax.random.key(0), images, (8, 8), per_image=3).shape
    (6, 8, 8, 1)
    """
    if per_image < 1:
        raise ValueError(f"got per_image={per_image}; expected at least 1")
    check_training_images(images, (*patch, images[0].shape[-1] if len(images) else 1))
    sizes = np.repeat(image_sizes(images)[None], per_image, axis=0)
    corners = crop_corners(key, np.arange(per_image), sizes, patch)
    return np.concatenate([_cut(images[k], corners[:, k], patch) for k in range(len(images))])


def _cut(image: Array | np.ndarray, corners: np.ndarray, patch: tuple[int, int]) -> np.ndarray:
    pixels = np.asarray(image)
    return np.stack([pixels[row : row + patch[0], column : column + patch[1]] for row, column in corners])


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
        self._image_key, self._corner_key = jax.random.split(jax.random.fold_in(key, _CROPS))
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
                _cut(self._images[int(image)], corner[None], self._plan.patch)
                for image, corner in zip(images, corners, strict=True)
            ]
        )


def _describe_crops(images: Sequence[Array | np.ndarray] | SizedImages, plan: _CropPlan) -> dict[str, Any]:
    content = images.fingerprint if isinstance(images, SizedImages) else fingerprint(list(images))
    return {"crops_of": len(images), "pixels": int(plan.sizes.prod(axis=1).sum()), "sha256": content}
