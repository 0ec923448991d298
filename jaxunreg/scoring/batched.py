"""Scores and reconstructions of any number of images, by one compiled program."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxunreg.compilation import ONE_CORE, cpu_jit
from jaxunreg.decomposition import Decomposition
from jaxunreg.images import check_images, to_float
from jaxunreg.integers import check_integer
from jaxunreg.models import apply
from jaxunreg.padding import filled
from jaxunreg.processor import cores
from jaxunreg.scoring.at_once import at_once
from jaxunreg.scoring.folding import folded_once
from jaxunreg.scoring.scorer import Scorer, check_scorer
from jaxunreg.scoring.until_error import one_behind
from jaxunreg.typing import AnyImages

# The most batches that a call takes.
_BATCHES_A_CALL = 16

# With at least so many batches for each core, each core computes calls of its own. Cores that share an operation wait
# for each other at its end.
_BATCHES_A_CORE = 8

# In these modes of JAX, a compiled program in another thread would not do what the caller asked for.
_MODES = "jax_disable_jit", "jax_debug_nans", "jax_debug_infs"

# Calls take fewer large batches, because every call is padded to full size. All calls in memory together have at most
# so many pixels: 200 MB of RGB in float32.
_PIXELS_IN_MEMORY = 2**24


def score_images(scorer: Scorer, images: AnyImages, *, batch_size: int | None = None) -> Decomposition:
    """Score any number of images, by one compiled program for a few images and another for any larger number.

    On a CPU, each core runs a third program alone if there are at least eight batches for each core.

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


def batches_a_call(scorer: Scorer, batch_size: int, most: int = _BATCHES_A_CALL, in_memory: int = 2) -> int:
    """Return how many batches of images or patches one call of the program takes.

    Args:
      scorer: the scorer.
      batch_size: images in a batch.
      most: the most batches.
      in_memory: how many calls are in memory at the same time: one that a device computes, and the next one.
    """
    pixels = batch_size * math.prod(scorer.model.config.image_shape[:2])
    return max(1, min(most, _PIXELS_IN_MEMORY // in_memory // pixels))


def _apply_in_batches(method: apply.Method, scorer: Scorer, images: jax.Array, count: jax.Array | np.int32) -> Any:
    """Return a model's results for the first `count` batches of `images`, `[batches, batch, height, width, channels]`.

    The results of all batches follow one another; those after the first `count` batches are zero.
    """

    def results_of(batch: jax.Array) -> Any:
        return method(scorer.model, scorer.variables, to_float(batch))

    shapes = jax.eval_shape(results_of, images[0])
    results = jax.tree.map(lambda leaf: jnp.zeros((len(images), *leaf.shape), leaf.dtype), shapes)

    def body(k: jax.Array | int, results: Any) -> Any:
        return jax.tree.map(lambda past, new: past.at[k].set(new), results, results_of(images[k]))

    results = jax.lax.fori_loop(0, count, body, results)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), results)


apply_in_batches = jax.jit(_apply_in_batches, static_argnums=0)
apply_on_one_core = cpu_jit(ONE_CORE, static_argnums=0)(_apply_in_batches)


def _in_batches(method: apply.Method, scorer: Scorer, images: AnyImages, batch_size: int | None) -> Any:
    """Return a model's results for any number of images, as a pytree of NumPy arrays, without the padding."""
    check_scorer(scorer)
    height, width, channels = scorer.model.config.image_shape
    check_images(images, (None, height, width, channels))
    batch = images_a_batch(scorer, batch_size)
    few = batch_size is None and len(images) <= min(batch // 8, _BATCHES_A_CALL)
    if few:
        batch = 1  # The weights are not folded: that takes longer than such a call.
    else:
        scorer = folded_once(scorer)
    if not few and _pays_by_core(-(-len(images) // batch)) and _runs_on_one_cpu(scorer):
        results = list(_by_core(method, scorer, images, batch))
    else:
        call = batch * batches_a_call(scorer, batch)
        parts = (np.asarray(images[start : start + call]) for start in range(0, len(images), call))
        begun = (one_call(method, scorer, part, batch) for part in parts)
        results = [jax.tree.map(np.asarray, result) for result in one_behind(begun)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(images)], *results)


def one_call(method: apply.Method, scorer: Scorer, images: np.ndarray, batch_size: int) -> Any:
    """Return a model's results for at most `batches_a_call` batches of images, followed by results for padding."""
    return apply_in_batches(method, scorer, *_in_call(images, batch_size, batches_a_call(scorer, batch_size)))


def _in_call(images: np.ndarray, batch_size: int, batches: int) -> tuple[jax.Array, np.int32]:
    """Return images as so many batches, the last ones of padding, and how many of them hold images."""
    padded = filled(images, batch_size * batches)
    batched = jnp.asarray(padded.reshape(batches, batch_size, *images.shape[1:]))
    return batched, np.int32(-(-len(images) // batch_size))


def _by_core(method: apply.Method, scorer: Scorer, images: AnyImages, batch_size: int) -> Iterator[Any]:
    """Yield a model's results for all images, in order, as NumPy arrays: each core computes calls of its own."""
    scorer, workers = Scorer(scorer.model.for_one_core(), scorer.variables), cores()
    batches, most = -(-len(images) // batch_size), batches_a_call(scorer, batch_size, in_memory=workers + 1)
    # Equal calls, as many for each core.
    calls = -(-batches // (most * workers)) * workers
    ends = [batch_size * (batches * call // calls) for call in range(calls + 1)]
    parts = (np.asarray(images[start:end]) for start, end in pairwise(ends) if end > start)
    dtype = jax.dtypes.canonicalize_dtype(images.dtype)
    batched = jax.ShapeDtypeStruct((most, batch_size, *images.shape[1:]), dtype)
    # Compiled here, because the caller's settings of JAX hold in this thread alone.
    program = apply_on_one_core.lower(method, scorer, batched, np.int32(0)).compile()

    def run(part: tuple[int, jax.Array, np.int32]) -> Any:
        length, batched, count = part
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:length], program(scorer, batched, count))

    yield from at_once(run, ((len(part), *_in_call(part, batch_size, most)) for part in parts), workers)


def _pays_by_core(batches: int) -> bool:
    """Return whether there are so many batches that a program for a single core is worth compiling."""
    return cores() > 1 and batches >= _BATCHES_A_CORE * cores()


def _runs_on_one_cpu(scorer: Scorer) -> bool:
    """Return whether one CPU is to run a compiled program of these variables."""
    leaves = jax.tree.leaves(scorer.variables)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves) or any(getattr(jax.config, mode) for mode in _MODES):
        return False
    devices = {device for leaf in leaves for device in leaf.devices()}
    return [device.platform for device in devices] == ["cpu"]
