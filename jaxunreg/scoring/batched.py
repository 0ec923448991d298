"""Scores and reconstructions of any number of images, by one compiled program."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxunreg.decomposition import Decomposition
from jaxunreg.images import check_images, to_float
from jaxunreg.integers import check_integer
from jaxunreg.models import apply
from jaxunreg.padding import filled
from jaxunreg.scoring.folding import folded_once
from jaxunreg.scoring.scorer import Scorer, check_scorer
from jaxunreg.scoring.until_error import one_behind
from jaxunreg.typing import AnyImages

# The most batches that a call takes.
_BATCHES_A_CALL = 16

# A call takes fewer large batches, because every call is padded to full size: 100 MB of RGB in float32.
_PIXELS_A_CALL = 2**23


def score_images(scorer: Scorer, images: AnyImages, *, batch_size: int | None = None) -> Decomposition:
    """Score any number of images, by one compiled program for a few images and another for any larger number.

    Args:
      scorer: from `make_scorer`.
      images: `[N, height, width, channels]`; uint8, or floating point in [0, 1].
      batch_size: images at a time; by default as many as stay in a processor's cache. If there are at most an eighth
        of that many images, and at most 16, the default is 1, so that a camera's single image does not wait for a
        whole batch. The last batch is padded, and the scores of the padding are cut off.

    Returns:
      NumPy float32 arrays `[N]`, in nats, higher is more anomalous.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `decompose`; also an empty array or a batch size below one.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jax.random.uniform(jax.random.key(1), (5, 8, 8, 1))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), images))
    >>> ju.score_images(scorer, images, batch_size=2).m.shape
    (5,)
    """
    return _in_batches(apply.terms, scorer, images, batch_size)


def reconstruct_images(scorer: Scorer, images: AnyImages, *, batch_size: int | None = None) -> np.ndarray:
    """Return reconstructions (`mu_x` at the posterior mean) of any number of images.

    Args:
      scorer: from `make_scorer`.
      images: `[N, height, width, channels]`; uint8, or floating point in [0, 1].
      batch_size: as for `score_images`.

    Returns:
      NumPy float32 `[N, height, width, channels]`; not clipped to [0, 1].

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `score_images`.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jax.random.uniform(jax.random.key(1), (5, 8, 8, 1))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), images))
    >>> ju.reconstruct_images(scorer, images, batch_size=2).shape
    (5, 8, 8, 1)
    """
    return _in_batches(apply.reconstruct, scorer, images, batch_size)


def images_a_batch(scorer: Scorer, batch_size: int | None) -> int:
    """Return the given batch size, or the number of images that stay in a processor's cache.

    Raises:
      ArgumentTypeError: a batch size that is not an integer.
      ArgumentError: a batch size below one.
    """
    if batch_size is None:
        return scorer.model.scoring_batch
    return check_integer("batch_size", batch_size, at_least=1)


def batches_a_call(scorer: Scorer, batch_size: int, most: int = _BATCHES_A_CALL) -> int:
    """Return how many batches of images or patches one call of the program takes."""
    return max(1, min(most, _PIXELS_A_CALL // (batch_size * math.prod(scorer.model.config.image_shape[:2]))))


@partial(jax.jit, static_argnums=0)
def apply_in_batches(method: apply.Method, scorer: Scorer, images: jax.Array, count: jax.Array) -> Any:
    """Return a model's results for the first `count` batches of `images`, `[batches, batch, height, width, channels]`.

    The results of all batches follow one another; those after the first `count` batches are zero.
    """

    def results_of(batch: jax.Array) -> Any:
        return method(scorer.model, scorer.variables, to_float(batch))

    shapes = jax.eval_shape(results_of, images[0])
    results = jax.tree.map(lambda leaf: jnp.zeros((len(images), *leaf.shape), leaf.dtype), shapes)

    def body(k: jax.Array, results: Any) -> Any:
        return jax.tree.map(lambda past, new: past.at[k].set(new), results, results_of(images[k]))

    results = jax.lax.fori_loop(0, count, body, results)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), results)


def _in_batches(method: apply.Method, scorer: Scorer, images: AnyImages, batch_size: int | None) -> Any:
    """Return a model's results for any number of images, as a pytree of NumPy arrays, without the padding."""
    check_scorer(scorer)
    height, width, channels = scorer.model.config.image_shape
    check_images(images, (None, height, width, channels))
    batch = images_a_batch(scorer, batch_size)
    if batch_size is None and len(images) <= min(batch // 8, _BATCHES_A_CALL):
        batch = 1  # The weights are not folded: that takes longer than such a call.
    else:
        scorer = folded_once(scorer)
    call = batch * batches_a_call(scorer, batch)
    parts = (np.asarray(images[start : start + call]) for start in range(0, len(images), call))
    begun = (one_call(method, scorer, part, batch) for part in parts)
    results = [jax.tree.map(np.asarray, result) for result in one_behind(begun)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(images)], *results)


def one_call(method: apply.Method, scorer: Scorer, images: np.ndarray, batch_size: int) -> Any:
    """Return a model's results for at most `batches_a_call` batches of images, followed by results for padding."""
    count = np.int32(-(-len(images) // batch_size))
    batches = batches_a_call(scorer, batch_size)
    images = filled(images, batch_size * batches)
    batched = jnp.asarray(images.reshape(batches, batch_size, *images.shape[1:]))
    return apply_in_batches(method, scorer, batched, count)
