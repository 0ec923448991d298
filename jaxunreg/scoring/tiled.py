"""Maps of one image of any size, as functions that compose with other JAX code."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxunreg.decomposition import Decomposition, Term, check_term
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.images import check_images, to_float
from jaxunreg.integers import check_integer
from jaxunreg.models import apply
from jaxunreg.scoring.batched import images_a_batch
from jaxunreg.scoring.patches import PatchGrid, check_stride, extract_patches, patch_grid
from jaxunreg.scoring.scorer import Scorer, check_scorer, fold_scorer
from jaxunreg.typing import AnyImage


def score_image(
    scorer: Scorer, image: AnyImage, *, stride: int, patch: int | None = None, batch_size: int | None = None
) -> Decomposition:
    """Score every patch of an image of any size, in memory that does not grow with the image.

    Patch `[i, j]` starts at row `i * stride` and column `j * stride`. If a border is left over, one more row or column
    of patches is aligned to it. This is a pure function: it composes with `jit`, `vmap` and `grad`.

    Args:
      scorer: from `make_scorer`.
      image: `[height, width, channels]`, at least as large as the model's; uint8, or floating point in [0, 1].
      stride: pixels from one patch to the next.
      patch: the expected size of a patch. Patches have the model's size; another one is an error.
      batch_size: patches at a time; by default as many as stay in a processor's cache.

    Returns:
      Float32 maps `[rows, columns]`, in nats a patch, higher is more anomalous.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `decompose`; also an image smaller than a patch, a patch that is
        not of the model's size, or a stride or batch size below one.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    >>> maps = ju.score_image(scorer, jax.random.uniform(jax.random.key(1), (20, 30, 1)), stride=8)
    >>> maps.m.shape, float(ju.image_score(maps.m)) == float(maps.m.max())
    ((3, 4), True)
    """
    checked_grid(scorer, image, patch, stride)
    return _score_image(scorer, image, stride, images_a_batch(scorer, batch_size))


def heat_map(
    scorer: Scorer,
    image: AnyImage,
    *,
    stride: int,
    patch: int | None = None,
    batch_size: int | None = None,
    term: Term = "m",
) -> Float[Array, "height width"]:
    """Return a term for each pixel of an image of any size: the mean over the patches that cover the pixel.

    A pixel's M is the sum of `1/2 (x - mu)^2 / sigma^2` over its channels, its A is the sum of `1/2 log(2 pi sigma^2)`
    (eq. 6 before the sum over pixels), and its D is the patch's D divided by the patch's pixels. This is a pure
    function. Its memory grows by three numbers a pixel.

    Args:
      scorer: from `make_scorer`.
      image: `[height, width, channels]`, at least as large as the model's; uint8, or floating point in [0, 1].
      stride: pixels from one patch to the next, at most the size of a patch.
      patch: as for `score_image`.
      batch_size: as for `score_image`.
      term: `d`, `a`, `m`, or `nelbo`, their sum.

    Returns:
      Float32 `[height, width]`, in nats a pixel, higher is more anomalous.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `score_image`; also a stride that skips pixels, or an unknown
        term.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    >>> ju.heat_map(scorer, jax.random.uniform(jax.random.key(1), (20, 30, 1)), stride=4).shape
    (20, 30)
    """
    check_term(term)
    checked_covering_grid(scorer, image, patch, stride)
    return _heat_map(scorer, image, stride, images_a_batch(scorer, batch_size), term)


def checked_grid(scorer: Scorer, image: AnyImage, patch: int | None, stride: int) -> PatchGrid:
    """Check the arguments of `score_image`, and return its patches.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `score_image`.
    """
    check_scorer(scorer)
    height, width, channels = scorer.model.config.image_shape
    if patch is not None and (check_integer("patch", patch, at_least=1),) * 2 != (height, width):
        raise ArgumentError(
            f"{argument('patch', patch)} with a model of {height}x{width}",
            "the model's own size, since its last layer is fully connected",
            f"leave {argument('patch')} out, or train a model of that size",
        )
    check_images(image, (None, None, channels))
    return patch_grid(*image.shape[:2], patch=(height, width), stride=stride)


def checked_covering_grid(scorer: Scorer, image: AnyImage, patch: int | None, stride: int) -> PatchGrid:
    """Check the arguments of `heat_map`, and return its patches, which cover every pixel.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `score_image`; also a stride that skips pixels.
    """
    grid = checked_grid(scorer, image, patch, stride)
    check_stride("stride", stride, min(grid.height, grid.width))
    return grid


def batched_corners(grid: PatchGrid, batch_size: int, devices: int = 1) -> Int[np.ndarray, "batches batch 2"]:
    """Return the corners in batches of one size, equally many for each device, padded with the last patch."""
    corners = grid.corners
    batch_size = min(batch_size, -(-len(corners) // devices))
    missing = -len(corners) % (batch_size * devices)
    return np.concatenate([corners, np.repeat(corners[-1:], missing, axis=0)]).reshape(-1, batch_size, 2)


def patch_terms(scorer: Scorer, image: AnyImage, corners: Int[Array, "batches batch 2"]) -> Decomposition:
    """Return D, A and M of the patches at some corners, `[batches, batch]`, one batch at a time."""
    size = scorer.model.config.image_shape[:2]

    # Checkpointed, so that a gradient keeps the activations of one batch instead of all.
    @jax.checkpoint
    def terms(corners: jax.Array) -> Decomposition:
        patches = to_float(extract_patches(image, corners, size))
        return apply.terms(scorer.model, scorer.variables, patches)

    return jax.lax.map(terms, corners)


def sum_patches(
    scorer: Scorer,
    image: AnyImage,
    corners: Int[Array, "batches batch 2"],
    weights: Float[Array, "batches batch"],
    term: Term,
) -> Float[Array, "height width"]:
    """Sum a term of the pixels over patches, each patch times its weight and at its place in the image."""
    size = scorer.model.config.image_shape[:2]

    @jax.checkpoint
    def add(total: jax.Array, batch: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        corners, weight = batch
        patches = to_float(extract_patches(image, corners, size))
        terms = getattr(apply.pixel_terms(scorer.model, scorer.variables, patches), term)
        rows = corners[:, :1] + jnp.arange(size[0], dtype=corners.dtype).reshape(1, -1)
        columns = corners[:, 1:] + jnp.arange(size[1], dtype=corners.dtype).reshape(1, -1)
        terms = terms * weight.reshape(-1, 1, 1)
        return total.at[rows[:, :, None], columns[:, None, :]].add(terms), None

    return jax.lax.scan(add, jnp.zeros(image.shape[:2], jnp.float32), (corners, weights))[0]


@partial(jax.jit, static_argnums=(2, 3))
def _score_image(scorer: Scorer, image: jax.Array, stride: int, batch_size: int) -> Decomposition:
    grid = patch_grid(*image.shape[:2], patch=scorer.model.config.image_shape[:2], stride=stride)
    maps = patch_terms(fold_scorer(scorer), image, jnp.asarray(batched_corners(grid, batch_size)))
    return jax.tree.map(lambda leaf: leaf.reshape(-1)[: math.prod(grid.shape)].reshape(grid.shape), maps)


@partial(jax.jit, static_argnums=(2, 3, 4))
def _heat_map(scorer: Scorer, image: jax.Array, stride: int, batch_size: int, term: Term) -> jax.Array:
    height, width = image.shape[:2]
    grid = patch_grid(height, width, patch=scorer.model.config.image_shape[:2], stride=stride)
    batches = batched_corners(grid, batch_size)
    # The padding of the last batch has weight zero.
    weights = (np.arange(batches.shape[0] * batches.shape[1]) < math.prod(grid.shape)).astype(np.float32)
    weights = weights.reshape(batches.shape[:2])
    total = sum_patches(fold_scorer(scorer), image, jnp.asarray(batches), jnp.asarray(weights), term)
    return total / jnp.asarray(grid.coverage(height, width), jnp.float32)
