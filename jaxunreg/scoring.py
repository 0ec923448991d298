"""Scores at detection time: a trained model taken apart into D, A and M, as a pure function and as a callable."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from jaxunreg.decomposition import Decomposition
from jaxunreg.images import check_images, to_float
from jaxunreg.networks import NetworkConfig
from jaxunreg.typing import AnyImage, AnyImages, Variables


@runtime_checkable
class Model(Protocol):
    """What a model must offer to be trained and scored: `VAE` and `Autoencoder` do.

    Methods that take a batch of float images, run through `apply(variables, ..., method=...)`:

    - `terms(images) -> Decomposition`, `[batch]`, deterministic: the score;
    - `training_terms(images, key) -> Decomposition`, `[batch]`: the objective is the mean of `d + a + m`;
    - `reconstruct(images) -> images`.
    """

    @property
    def config(self) -> NetworkConfig:
        """Sizes of the network."""
        ...

    @property
    def init(self) -> Callable[..., Any]:
        """Flax's `init`."""
        ...

    @property
    def apply(self) -> Callable[..., Any]:
        """Flax's `apply`."""
        ...


def decompose(model: Model, variables: Variables, image: AnyImage) -> Decomposition:
    """D, A and M of one image at the posterior mean.

    `L(x) = D(x) + A(x) + M(x)` (eq. 5 and 6 of the paper). A pure, deterministic and differentiable function of its
    arguments; `jax.vmap` makes it a function of a batch.

    Args:
      model: a `VAE` or an `Autoencoder`.
      variables: what `model.init` or `fit` made.
      image: `[height, width, channels]` as the model's config says; uint8, or floating point in [0, 1].

    Returns:
      Float32 scalars, in nats, higher is more anomalous. An autoencoder has its mean squared error as M.

    Raises:
      TypeError: neither uint8 nor floating point.
      ValueError: another shape, or, outside of `jit` and `vmap`, values that are not finite or not in [0, 1].

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    >>> terms = ju.decompose(model, variables, jnp.full((8, 8, 1), 0.5))
    >>> bool(terms.m >= 0), bool(terms.nelbo == terms.d + terms.a + terms.m)
    (True, True)
    """
    check_images(image, model.config.image_shape)
    terms = model.apply(variables, to_float(image)[None], method="terms")
    return jax.tree.map(lambda term: term[0], terms)


@partial(jax.tree_util.register_dataclass, data_fields=["variables"], meta_fields=["model"])
@dataclass(frozen=True)
class Scorer:
    """A model and its variables as one callable pytree: image in, `Decomposition` out.

    The variables are the leaves, so a scorer is an argument like any array: give it to `jit`, `vmap`, `grad`, or
    stack several and `vmap` over them. See `make_scorer`.

    Attributes:
      model: the network, static.
      variables: its parameters and batch statistics.
    """

    model: Model
    variables: Variables

    def __call__(self, image: AnyImage) -> Decomposition:
        """D, A and M of one image `[height, width, channels]`; see `decompose`."""
        return decompose(self.model, self.variables, image)


def make_scorer(model: Model, variables: Variables) -> Scorer:
    """A callable pytree that scores one image: `scorer(image)` is `decompose(model, variables, image)`.

    Args:
      model: a `VAE` or an `Autoencoder`.
      variables: what `model.init` or `fit` made.

    Returns:
      The scorer; a pure function of one image `[height, width, channels]`.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jax.random.uniform(jax.random.key(1), (5, 8, 8, 1))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), images))
    >>> jax.jit(jax.vmap(scorer))(images).m.shape
    (5,)
    >>> jax.grad(lambda image: scorer(image).m)(images[0]).shape
    (8, 8, 1)
    """
    return Scorer(model, variables)


def fold(model: Model, variables: Variables) -> Variables:
    """Variables that score faster: batch normalisation folded into the weights, and the kernels prepared.

    The scores are the same to rounding. `score_images` does this once for all its images; before a loop of your own,
    do it yourself. The result does not train.

    Args:
      model: a `VAE` or an `Autoencoder`.
      variables: what `model.init` or `fit` made.

    Returns:
      The variables with one more collection, `folded`, which `decompose` and `make_scorer` take in place of them.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    >>> image = jnp.full((8, 8, 1), 0.5)
    >>> terms, same = (ju.decompose(model, v, image) for v in (variables, fold(model, variables)))
    >>> bool(jnp.allclose(terms.nelbo, same.nelbo))
    True
    """
    images = jnp.zeros((1, *model.config.image_shape), jnp.float32)
    _, folded = model.apply(variables, images, method="terms", mutable=["folded"])
    return {**variables, **folded}


def score_images(scorer: Scorer, images: AnyImages, *, batch_size: int | None = None) -> Decomposition:
    """D, A and M of any number of images, by one compiled program whatever their number.

    Args:
      scorer: from `make_scorer`.
      images: `[N, height, width, channels]`; uint8, or floating point in [0, 1].
      batch_size: images at a time; by default as many as stay in a processor's cache. The last batch is padded, and
        what was padded is cut off again.

    Returns:
      NumPy float32 arrays `[N]`, in nats, higher is more anomalous.

    Raises:
      TypeError, ValueError: see `decompose`; also an empty array or a batch size below one.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jax.random.uniform(jax.random.key(1), (5, 8, 8, 1))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), images))
    >>> ju.score_images(scorer, images, batch_size=2).m.shape
    (5,)
    """
    return _in_batches("terms", scorer, images, batch_size)


def reconstruct_images(scorer: Scorer, images: AnyImages, *, batch_size: int | None = None) -> np.ndarray:
    """Reconstructions (`mu_x` at the posterior mean) of any number of images.

    Args:
      scorer: from `make_scorer`.
      images: `[N, height, width, channels]`; uint8, or floating point in [0, 1].
      batch_size: see `score_images`.

    Returns:
      NumPy float32 `[N, height, width, channels]`; not clipped to [0, 1].

    Raises:
      TypeError, ValueError: see `score_images`.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jax.random.uniform(jax.random.key(1), (5, 8, 8, 1))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), images))
    >>> ju.reconstruct_images(scorer, images, batch_size=2).shape
    (5, 8, 8, 1)
    """
    return _in_batches("reconstruct", scorer, images, batch_size)


# 256 images of 32x32, 32 of 96x96: fewer make thin matrix products, more leave the processor's cache.
_PIXELS_A_BATCH = 2**18
_BATCHES_A_CALL = 16


@jax.jit
def _folded(scorer: Scorer) -> Scorer:
    return Scorer(scorer.model, fold(scorer.model, scorer.variables))


@partial(jax.jit, static_argnums=0)
def _apply_in_batches(method: str, scorer: Scorer, images: jax.Array, count: jax.Array) -> Any:
    """Results for the first `count` batches of `images`, `[batches, batch, height, width, channels]`."""

    def apply(batch: jax.Array) -> Any:
        return scorer.model.apply(scorer.variables, to_float(batch), method=method)

    shapes = jax.eval_shape(apply, images[0])
    results = jax.tree.map(lambda leaf: jnp.zeros((len(images), *leaf.shape), leaf.dtype), shapes)

    def body(k: jax.Array, results: Any) -> Any:
        return jax.tree.map(lambda past, new: past.at[k].set(new), results, apply(images[k]))

    return jax.lax.fori_loop(0, count, body, results)


def _in_batches(method: str, scorer: Scorer, images: AnyImages, batch_size: int | None) -> Any:
    """Results of a method of the model for any number of images, as a NumPy tree, without the padding."""
    height, width, channels = scorer.model.config.image_shape
    check_images(images, (None, height, width, channels))
    if batch_size is None:
        batch_size = 2 ** max(0, round(math.log2(_PIXELS_A_BATCH / (height * width))))
    if batch_size < 1:
        raise ValueError(f"got batch_size={batch_size}; expected at least 1")
    call = batch_size * _BATCHES_A_CALL
    scorer = _folded(scorer)
    results: list[Any] = []
    waiting = None
    for start in range(0, len(images), call):
        part = np.asarray(images[start : start + call])
        if len(part) < call:
            # Zeros are a valid image, so padding can neither fail nor make a NaN.
            part = np.concatenate([part, np.zeros((call - len(part), *part.shape[1:]), part.dtype)])
        count = np.int32(-(-min(call, len(images) - start) // batch_size))
        batches = jnp.asarray(part.reshape(_BATCHES_A_CALL, batch_size, height, width, channels))
        result = _apply_in_batches(method, scorer, batches, count)
        # One call is prepared while the one before it runs, and no more, so that memory does not grow.
        if waiting is not None:
            results.append(jax.tree.map(np.asarray, waiting))
        waiting = result
    results.append(jax.tree.map(np.asarray, waiting))
    return jax.tree.map(
        lambda *leaves: np.concatenate(leaves).reshape(-1, *leaves[0].shape[2:])[: len(images)], *results
    )
