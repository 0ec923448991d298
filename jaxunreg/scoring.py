"""Scores at detection time: a trained model taken apart into D, A and M, as a pure function and as a callable."""

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


@jax.jit
def _score_batch(scorer: Scorer, images: jax.Array) -> Decomposition:
    return jax.vmap(scorer)(images)


@jax.jit
def _reconstruct_batch(scorer: Scorer, images: jax.Array) -> jax.Array:
    return scorer.model.apply(scorer.variables, to_float(images), method="reconstruct")


def score_images(scorer: Scorer, images: AnyImages, *, batch_size: int = 256) -> Decomposition:
    """D, A and M of any number of images, in batches of one size, so that one program is compiled.

    Args:
      scorer: from `make_scorer`.
      images: `[N, height, width, channels]`; uint8, or floating point in [0, 1].
      batch_size: images a call; the last batch is padded, and what was padded is cut off again.

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
    check_images(images, (None, *scorer.model.config.image_shape))
    batches = _in_batches(partial(_score_batch, scorer), images, batch_size)
    return Decomposition(*(np.concatenate(parts) for parts in zip(*batches, strict=True)))


def reconstruct_images(scorer: Scorer, images: AnyImages, *, batch_size: int = 256) -> np.ndarray:
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
    check_images(images, (None, *scorer.model.config.image_shape))
    return np.concatenate(_in_batches(partial(_reconstruct_batch, scorer), images, batch_size))


def _in_batches(function: Callable[[jax.Array], Any], images: AnyImages, batch_size: int) -> list[Any]:
    """Results of `function` over batches of one size, as NumPy trees, without the padding of the last."""
    if batch_size < 1:
        raise ValueError(f"got batch_size={batch_size}; expected at least 1")
    results = []
    for start in range(0, len(images), batch_size):
        batch = np.asarray(images[start : start + batch_size])
        count = len(batch)
        # Zeros are a valid image, so padding can neither fail nor make a NaN.
        padded = np.concatenate([batch, np.zeros((batch_size - count, *batch.shape[1:]), batch.dtype)])
        output = function(jnp.asarray(padded))
        results.append(jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:count], output))
    return results
