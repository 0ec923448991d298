"""Maps of each of many images of any sizes, by one compiled program."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Array

from jaxunreg.decomposition import Decomposition
from jaxunreg.images import check_images
from jaxunreg.scoring.batched import batches_a_call, images_a_batch, one_call
from jaxunreg.scoring.patch_stream import average_patches, map_patches
from jaxunreg.scoring.scorer import Scorer, fold_scorer


def score_each(
    scorer: Scorer, images: Iterable[Array | np.ndarray], *, stride: int, batch_size: int | None = None
) -> Iterator[Decomposition]:
    """D, A and M of every patch of each of many images of any sizes, by one compiled program.

    The maps of `score_image`, which compiles for every new size of image and is for use inside other JAX code; this is
    for a folder of images.

    Args:
      scorer: from `make_scorer`.
      images: `[height, width, channels]` each, at least as large as the model's; uint8, or floating point in [0, 1],
        all in one dtype. Read one after another, so a generator will do.
      stride: pixels from one patch to the next.
      batch_size: patches at a time; by default as many as stay in a processor's cache.

    Yields:
      For each image, in order, NumPy float32 maps `[rows, columns]`, in nats a patch, higher is more anomalous.

    Raises:
      TypeError, ValueError: see `score_image`.

    >>> import jax, jax.numpy as jnp, numpy as np, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    >>> images = [np.zeros((20, 30, 1), np.uint8), np.zeros((8, 9, 1), np.uint8)]
    >>> [maps.m.shape for maps in ju.score_each(scorer, images, stride=8)]
    [(3, 4), (1, 2)]
    """
    return _over_patches(map_patches, "terms", scorer, images, stride, batch_size)


def heat_map_each(
    scorer: Scorer, images: Iterable[Array | np.ndarray], *, stride: int, batch_size: int | None = None
) -> Iterator[Decomposition]:
    """Every term for each pixel of each of many images of any sizes, by one compiled program.

    The maps of `heat_map`, which is for use inside other JAX code; see `score_each`.

    Args:
      scorer: from `make_scorer`.
      images: see `score_each`.
      stride: pixels from one patch to the next, at most the size of a patch.
      batch_size: see `score_each`.

    Yields:
      For each image, in order, NumPy float64 maps `[height, width]`, in nats a pixel, higher is more anomalous.

    Raises:
      TypeError, ValueError: see `heat_map`.

    >>> import jax, jax.numpy as jnp, numpy as np, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    >>> [maps.m.shape for maps in ju.heat_map_each(scorer, [np.zeros((20, 30, 1), np.uint8)], stride=4)]
    [(20, 30)]
    """
    return _over_patches(average_patches, "pixel_terms", scorer, images, stride, batch_size)


def _over_patches(
    mapping: Callable[..., Iterator[Any]],
    method: str,
    scorer: Scorer,
    images: Iterable[Array | np.ndarray],
    stride: int,
    batch_size: int | None,
) -> Iterator[Any]:
    height, width, channels = scorer.model.config.image_shape
    batch_size = images_a_batch(scorer, batch_size)
    folded = fold_scorer(scorer)

    def checked() -> Iterator[Array | np.ndarray]:
        for image in images:
            check_images(image, (None, None, channels))
            yield image

    return mapping(
        lambda patches: one_call(method, folded, patches, batch_size),
        checked(),
        patch=(height, width),
        stride=stride,
        patches_a_call=batch_size * batches_a_call(scorer, batch_size),
    )
