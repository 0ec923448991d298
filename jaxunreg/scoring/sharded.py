"""The scorer spread over several devices."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxunreg.decomposition import Decomposition, Term, check_term
from jaxunreg.images import check_images
from jaxunreg.models import apply
from jaxunreg.padding import filled
from jaxunreg.scoring.batched import apply_in_batches, batches_a_call, images_a_batch
from jaxunreg.scoring.feature_scorer import FeatureScorer
from jaxunreg.scoring.map_scorer import MapScorer
from jaxunreg.scoring.on_devices import Backend, copied, mesh_of, prepared, refuse_traced
from jaxunreg.scoring.scorer import Scorer, fold_scorer
from jaxunreg.scoring.sharded_features import ShardedFeatureScorer, shard_features
from jaxunreg.scoring.tiled import batched_corners, checked_covering_grid, checked_grid, patch_terms, sum_patches
from jaxunreg.scoring.until_error import one_behind
from jaxunreg.typing import AnyImage, AnyImages

# The most batches that a device takes in one call of the program. With one batch a call, a CPU is 0.8 times as fast,
# because each call allocates its memory again. More batches would mean more padding for a small request.
_BATCHES_A_CALL = 4


@overload
def sharded_scorer(
    scorer: Scorer,
    devices: Sequence[jax.Device] | None = None,
    *,
    backend: Backend = "shard_map",
    batch_size: int | None = None,
) -> "ShardedScorer": ...


@overload
def sharded_scorer(
    scorer: FeatureScorer,
    devices: Sequence[jax.Device] | None = None,
    *,
    backend: Backend = "shard_map",
    batch_size: int | None = None,
) -> ShardedFeatureScorer: ...


def sharded_scorer(
    scorer: MapScorer,
    devices: Sequence[jax.Device] | None = None,
    *,
    backend: Backend = "shard_map",
    batch_size: int | None = None,
) -> "ShardedScorer | ShardedFeatureScorer":
    """Make a scorer that computes on several devices. Numbers and order are the same as on one device.

    This function folds batch normalisation into the weights and copies them to each device once. The compiled programs
    do not communicate between devices.

    Args:
      scorer: from `make_scorer`, or a `FeatureScorer`.
      devices: the devices; by default all. With several processes (`jaxunreg.parallel.start`), each process uses its
        own devices and scores its own images, independently of the others.
      backend: `shard_map`, or `pmap` for pipelines that build on it. Both give the same numbers.
      batch_size: images a device takes at a time; by default as many as stay in a processor's cache. Requests are
        padded to a multiple of `batch_size` times the number of devices, so a smaller one answers small requests
        sooner.

    Returns:
      A callable from images `[N, height, width, channels]` to a `Decomposition` of `[N]`. For a `Scorer`, its methods
      `score_image` and `heat_map` spread the patches of one image of any size. For a `FeatureScorer`, its method `maps`
      returns D, A and M of each place.

    Raises:
      ArgumentError: there is no device, a device is named twice, all devices belong to other processes, the backend is
        unknown, or the batch size is below one.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    >>> shard = ju.sharded_scorer(scorer, devices=jax.devices(), batch_size=4)
    >>> shard(jax.random.uniform(jax.random.key(1), (5, 8, 8, 1))).m.shape
    (5,)
    """
    return _SHARDED[scorer.space](scorer, mesh_of(devices, backend), backend, batch_size)


def _of_pixels(scorer: Any, mesh: Mesh, backend: Backend, batch_size: int | None) -> "ShardedScorer":
    batch_size = images_a_batch(scorer, batch_size)
    folded = jax.tree.map(np.asarray, fold_scorer(scorer))
    return ShardedScorer(copied(folded, mesh, backend), mesh, backend, batch_size)


_SHARDED: Mapping[str, Callable[..., Any]] = {"pixels": _of_pixels, "features": shard_features}


@dataclass(frozen=True, eq=False)
class ShardedScorer:
    """The result of `sharded_scorer`. It starts its own programs, so call it from the host and not inside of `jit`.

    Attributes:
      scorer: model and folded variables, on every device.
      mesh: the devices.
      backend: `shard_map` or `pmap`.
      batch_size: images a device takes at a time.
    """

    scorer: Scorer
    mesh: Mesh
    backend: Backend
    batch_size: int

    def __call__(self, images: AnyImages) -> Decomposition:
        """Return D, A and M of any number of images, even none, by one compiled program.

        Args:
          images: `[N, height, width, channels]`; uint8, or floating point in [0, 1].

        Returns:
          NumPy float32 arrays `[N]`, in nats, higher is more anomalous.

        Raises:
          ArgumentError, ArgumentTypeError: the errors of `decompose`; also images inside of `jit` or `vmap`.
        """
        refuse_traced(images)
        shape = self.scorer.model.config.image_shape
        if isinstance(images, np.ndarray | jax.Array) and images.ndim == 4 and len(images) == 0:
            check_images(np.zeros((1, *images.shape[1:]), images.dtype), (None, *shape))
            return Decomposition(*(np.zeros(0, np.float32) for _ in Decomposition._fields))
        check_images(images, (None, *shape))
        images = np.asarray(images)
        devices, batch = self.mesh.size, self.batch_size
        most = batches_a_call(self.scorer, batch, _BATCHES_A_CALL)
        call = devices * most * batch

        def begin(part: np.ndarray) -> tuple[Decomposition, int]:
            # Each device takes the same number of batches.
            count = -(-len(part) // (devices * batch))
            part = filled(part, devices * count * batch).reshape(devices, count, batch, *shape)
            part = filled(part, most, axis=1).reshape(-1, batch, *shape)
            return self._start(_batch_terms, np.int32(count), part), count

        begun = (begin(images[start : start + call]) for start in range(0, len(images), call))
        results = [self._in_order(*result) for result in one_behind(begun)]
        return jax.tree.map(lambda *parts: np.concatenate(parts)[: len(images)], *results)

    def _in_order(self, result: Decomposition, count: int) -> Decomposition:
        """Return the scores of the first `count` batches of each device, in the order of their images."""

        def take(leaf: np.ndarray) -> np.ndarray:
            return leaf.reshape(self.mesh.size, -1, self.batch_size)[:, :count].ravel()

        return jax.tree.map(take, jax.device_get(result))

    def score_image(
        self, image: AnyImage, *, stride: int, patch: int | None = None, batch_size: int | None = None
    ) -> Decomposition:
        """Do `jaxunreg.score_image` with the patches spread over the devices.

        Args:
          image: `[height, width, channels]`, at least as large as the model's; uint8, or floating point in [0, 1].
          stride: pixels from one patch to the next.
          patch: the expected size of a patch. Patches have the model's size; another one is an error.
          batch_size: patches a device takes at a time; by default that of the scorer.

        Returns:
          NumPy float32 maps `[rows, columns]`, in nats a patch, higher is more anomalous.

        Raises:
          ArgumentError, ArgumentTypeError: the errors of `jaxunreg.score_image`; also an image inside of `jit` or
            `vmap`.
        """
        refuse_traced(image)
        grid = checked_grid(self.scorer, image, patch, stride)
        corners = batched_corners(grid, self._patches_a_batch(batch_size), self.mesh.size)
        maps = jax.device_get(self._start(patch_terms, image, corners))
        return jax.tree.map(lambda leaf: leaf.ravel()[: len(grid.corners)].reshape(grid.shape), maps)

    def heat_map(
        self,
        image: AnyImage,
        *,
        stride: int,
        patch: int | None = None,
        batch_size: int | None = None,
        term: Term = "m",
    ) -> Float[np.ndarray, "height width"]:
        """Do `jaxunreg.heat_map` with the patches spread over the devices. The host adds their maps.

        Args:
          image: `[height, width, channels]`, at least as large as the model's; uint8, or floating point in [0, 1].
          stride: pixels from one patch to the next, at most the size of a patch.
          patch: as for `score_image`.
          batch_size: as for `score_image`.
          term: `d`, `a`, `m`, or `nelbo`, their sum.

        Returns:
          NumPy float32 `[height, width]`, in nats a pixel, higher is more anomalous.

        Raises:
          ArgumentError, ArgumentTypeError: the errors of `jaxunreg.heat_map`; also an image inside of `jit` or `vmap`.
        """
        refuse_traced(image)
        check_term(term)
        grid = checked_covering_grid(self.scorer, image, patch, stride)
        corners = batched_corners(grid, self._patches_a_batch(batch_size), self.mesh.size)
        # The padding of the last batches has weight zero.
        weights = (np.arange(corners[..., 0].size) < len(grid.corners)).astype(np.float32)
        parts = self._start(_patch_sum(term), image, (corners, weights.reshape(corners.shape[:2])))
        height, width = image.shape[:2]
        total = np.zeros((height, width), np.float32)
        # One after another, because each part is as large as the image.
        for part in parts.addressable_shards:
            total += jax.device_get(part.data).reshape(height, width)
        return total / grid.coverage(height, width).astype(np.float32)

    def _patches_a_batch(self, batch_size: int | None) -> int:
        return self.batch_size if batch_size is None else images_a_batch(self.scorer, batch_size)

    def _start(self, function: Callable[..., Any], shared: Any, split: Any) -> Any:
        program, arguments = self._prepare(function, shared, split)
        return program(*arguments)

    def _prepare(self, function: Callable[..., Any], shared: Any, split: Any) -> tuple[Any, tuple[Any, ...]]:
        return prepared(function, self.scorer, shared, split, self.mesh, self.backend)


def _batch_terms(scorer: Scorer, count: Array, batches: Array) -> Decomposition:
    return apply_in_batches(apply.terms, scorer, batches, count)


@functools.cache
def _patch_sum(term: Term) -> Callable[..., Array]:
    def one(scorer: Scorer, image: Array, batches: tuple[Array, Array]) -> Array:
        return sum_patches(scorer, image, *batches, term)[None]

    return one
