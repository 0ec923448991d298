"""The scorer of features spread over several devices."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from jaxunreg.decomposition import Decomposition
from jaxunreg.features.tiles import look_at
from jaxunreg.images import check_images, to_float
from jaxunreg.integers import check_integer
from jaxunreg.padding import filled
from jaxunreg.scoring.feature_scorer import FeatureScorer
from jaxunreg.scoring.feature_stream import images_a_call
from jaxunreg.scoring.on_devices import Backend, copied, prepared, refuse_traced
from jaxunreg.scoring.until_error import one_behind
from jaxunreg.scoring.working_size import resized
from jaxunreg.typing import AnyImages


@dataclass(frozen=True, eq=False)
class ShardedFeatureScorer:
    """The result of `sharded_scorer`. It starts its own programs, so call it from the host and not inside of `jit`.

    Attributes:
      scorer: as it was given.
      leaves: its arrays, on every device.
      mesh: the devices.
      backend: `shard_map` or `pmap`.
      batch_size: images a device takes at a time.

    >>> import jax, jaxunreg as ju
    >>> from jaxunreg.features import WhiteningConfig, fit_whitening, wrap
    >>> network = wrap(lambda weights, images: images[:, ::8, ::8], (), name="thinned")
    >>> images = jax.random.uniform(jax.random.key(0), (9, 32, 48, 3))
    >>> whitening = fit_whitening(network(images), WhiteningConfig(per_place=False))
    >>> shard = ju.sharded_scorer(ju.scoring.FeatureScorer(network, whitening, (32, 48), channels=3), batch_size=2)
    >>> shard(images).m.shape, shard.maps(images).m.shape
    ((9,), (9, 4, 6))
    """

    scorer: FeatureScorer
    leaves: list[Array]
    mesh: Mesh
    backend: Backend
    batch_size: int

    def __call__(self, images: AnyImages) -> Decomposition:
        """Return D, A and M of any number of images of one size, even none: the sums over their places.

        One program is compiled for each size of the images.

        Args:
          images: `[N, height, width, channels]`; uint8, or floating point in [0, 1].

        Returns:
          NumPy float32 arrays `[N]`, in nats, higher is more anomalous.

        Raises:
          ArgumentError, ArgumentTypeError: the errors of `decompose`, except that any size is allowed; also images
            inside of `jit` or `vmap`.
        """
        return self._in_calls(_terms, images)

    def maps(self, images: AnyImages) -> Decomposition:
        """Return D, A and M of each place of any number of images of one size.

        Args:
          images: as above.

        Returns:
          NumPy float32 arrays `[N, rows, columns]`, in nats a place, higher is more anomalous.

        Raises:
          ArgumentError, ArgumentTypeError: as above.
        """
        return self._in_calls(_maps, images)

    def _in_calls(self, function: Callable[[FeatureScorer, Array], Decomposition], images: AnyImages) -> Any:
        refuse_traced(images)
        none = isinstance(images, np.ndarray | jax.Array) and images.ndim == 4 and len(images) == 0
        if none:
            images = np.zeros((1, *images.shape[1:]), images.dtype)
        check_images(images, (None, None, None, self.scorer.channels))
        images = np.asarray(images)
        a_call = self.mesh.size * self.batch_size
        parts = (filled(images[start : start + a_call], a_call) for start in range(0, len(images), a_call))
        begun = (self._start(function, part) for part in parts)
        results = [jax.tree.map(self._in_order, jax.device_get(result)) for result in one_behind(begun)]
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: 0 if none else len(images)], *results)

    def _start(self, function: Callable[..., Decomposition], images: np.ndarray) -> Decomposition:
        program, arguments = self._prepare(function, images)
        return program(*arguments)

    def _prepare(self, function: Callable[..., Decomposition], images: np.ndarray) -> tuple[Any, tuple[Any, ...]]:
        on_leaves = _on_leaves(function, jax.tree.structure(self.scorer))
        return prepared(on_leaves, self.leaves, (), images, self.mesh, self.backend)

    def _in_order(self, leaf: np.ndarray) -> np.ndarray:
        """Join the axes of devices and images that pmap returns."""
        return leaf.reshape(-1, *leaf.shape[2:]) if self.backend == "pmap" else leaf


def shard_features(scorer: FeatureScorer, mesh: Mesh, backend: Backend, batch_size: int | None) -> ShardedFeatureScorer:
    """Spread a scorer of features over devices; see `sharded_scorer`."""
    if batch_size is None:
        batch_size = images_a_call(scorer.size)
    else:
        batch_size = check_integer("batch_size", batch_size, at_least=1)
    leaves = copied([np.asarray(leaf) for leaf in jax.tree.leaves(scorer)], mesh, backend)
    return ShardedFeatureScorer(scorer, leaves, mesh, backend, batch_size)


# A scorer checks the shapes of its arrays, and pmap adds an axis until its program runs.
@functools.lru_cache(maxsize=64)
def _on_leaves(function: Callable[[FeatureScorer, Array], Decomposition], structure: Any) -> Callable[..., Any]:
    def program(leaves: list[Array], shared: Any, images: Array) -> Decomposition:
        return function(jax.tree.unflatten(structure, leaves), images)

    return program


def _maps(scorer: FeatureScorer, images: Array) -> Decomposition:
    working = jax.vmap(lambda image: resized(to_float(image), scorer.size))(images)
    return jax.vmap(scorer.maps_of_features)(look_at(scorer.network, working))


def _terms(scorer: FeatureScorer, images: Array) -> Decomposition:
    return jax.tree.map(lambda term: jnp.sum(term, axis=(1, 2)), _maps(scorer, images))
