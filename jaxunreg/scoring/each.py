"""Maps of each of many images of any sizes, by one compiled program."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Array

from jaxunreg.decomposition import Decomposition
from jaxunreg.doors import check_kind
from jaxunreg.images import check_images
from jaxunreg.integers import check_integer
from jaxunreg.models import apply
from jaxunreg.scoring.batched import batches_a_call, images_a_batch, one_call
from jaxunreg.scoring.folding import folded_once
from jaxunreg.scoring.image_maps import ImageMaps
from jaxunreg.scoring.patch_stream import StreamedMaps, stream_maps
from jaxunreg.scoring.patches import check_stride
from jaxunreg.scoring.scorer import Scorer, check_scorer


def maps_each(
    scorer: Scorer,
    images: Iterable[Array | np.ndarray],
    *,
    stride: int,
    pixels: bool = True,
    pixel_stride: int | None = None,
    batch_size: int | None = None,
) -> Iterator[ImageMaps]:
    """Yield D, A and M of every patch, and of every pixel, of each of many images of any sizes.

    Each image is read once. If both kinds of maps have the same stride, the network sees each patch once. Another
    `pixel_stride` needs a second pass of the network. The maps equal those of `score_each` and `heat_map_each`, to the
    bit for the patches of a `VAE`, and otherwise up to rounding.

    Args:
      scorer: from `make_scorer`.
      images: as for `score_each`.
      stride: pixels from one patch to the next.
      pixels: whether to make the maps of the pixels, too.
      pixel_stride: stride of the patches over which the maps of the pixels are averaged, at most the size of a patch;
        by default `stride`.
      batch_size: patches at a time; by default as many as stay in a processor's cache.

    Yields:
      For each image, in order, its maps.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `score_each`, and with `pixels` those of `heat_map_each`.

    >>> import jax, jax.numpy as jnp, numpy as np, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    >>> [maps] = maps_each(scorer, [np.zeros((20, 30, 1), np.uint8)], stride=8)
    >>> maps.patches.m.shape, maps.pixels.m.shape, maps.grid.rows.tolist()
    ((3, 4), (20, 30), [0, 8, 12])
    """
    if pixel_stride is not None:
        check_integer("pixel_stride", pixel_stride, at_least=None)
    _check(scorer, images)
    if pixels and pixel_stride not in (None, stride):
        # One pass may be ahead of the other by the images of a call. `tee` keeps them.
        first, second = itertools.tee(images)
        by_pixel = heat_map_each(scorer, second, stride=pixel_stride, batch_size=batch_size)
        by_patch = maps_each(scorer, first, stride=stride, pixels=False, batch_size=batch_size)
        for maps, averaged in zip(by_patch, by_pixel, strict=True):
            yield maps._replace(pixels=averaged)
    elif pixels:
        check_stride("stride", stride, min(scorer.model.config.image_shape[:2]))
        for found in _over_patches(apply.all_terms, lambda terms: terms, scorer, images, stride, batch_size):
            yield ImageMaps(found.by_patch, found.by_pixel, found.grid)
    else:
        for found in _over_patches(apply.terms, lambda terms: (terms, ()), scorer, images, stride, batch_size):
            yield ImageMaps(found.by_patch, None, found.grid)


def score_each(
    scorer: Scorer, images: Iterable[Array | np.ndarray], *, stride: int, batch_size: int | None = None
) -> Iterator[Decomposition]:
    """Yield D, A and M of every patch of each of many images of any sizes, by one compiled program.

    The maps are those of `score_image`. That function compiles for every new size of image and is for use inside other
    JAX code. This one is for a folder of images.

    Args:
      scorer: from `make_scorer`.
      images: `[height, width, channels]` each, at least as large as the model's; uint8, or floating point in [0, 1],
        all in one dtype. They are read one after another, so a generator will do.
      stride: pixels from one patch to the next.
      batch_size: patches at a time; by default as many as stay in a processor's cache.

    Yields:
      For each image, in order, NumPy float32 maps `[rows, columns]`, in nats a patch, higher is more anomalous.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `score_image`; also images of several dtypes.

    >>> import jax, jax.numpy as jnp, numpy as np, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    >>> images = [np.zeros((20, 30, 1), np.uint8), np.zeros((8, 9, 1), np.uint8)]
    >>> [maps.m.shape for maps in ju.score_each(scorer, images, stride=8)]
    [(3, 4), (1, 2)]
    """
    for maps in maps_each(scorer, images, stride=stride, pixels=False, batch_size=batch_size):
        yield maps.patches


def heat_map_each(
    scorer: Scorer, images: Iterable[Array | np.ndarray], *, stride: int, batch_size: int | None = None
) -> Iterator[Decomposition]:
    """Yield every term for each pixel of each of many images of any sizes, by one compiled program.

    The maps are those of `heat_map`, which is for use inside other JAX code.

    Args:
      scorer: from `make_scorer`.
      images: as for `score_each`.
      stride: pixels from one patch to the next, at most the size of a patch.
      batch_size: as for `score_each`.

    Yields:
      For each image, in order, NumPy float64 maps `[height, width]`, in nats a pixel, higher is more anomalous.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `heat_map`; also images of several dtypes.

    >>> import jax, jax.numpy as jnp, numpy as np, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1))))
    >>> [maps.m.shape for maps in ju.heat_map_each(scorer, [np.zeros((20, 30, 1), np.uint8)], stride=4)]
    [(20, 30)]
    """
    _check(scorer, images)
    check_stride("stride", stride, min(scorer.model.config.image_shape[:2]))
    for found in _over_patches(apply.pixel_terms, lambda terms: ((), terms), scorer, images, stride, batch_size):
        yield found.by_pixel


def _check(scorer: Scorer, images: Iterable[Array | np.ndarray]) -> None:
    check_scorer(scorer)
    check_kind("images", images, Iterable, "images one after another", "give a list of them, or a generator")


def _over_patches(
    method: apply.Method,
    split: Callable[[Any], tuple[Any, Any]],
    scorer: Scorer,
    images: Iterable[Array | np.ndarray],
    stride: int,
    batch_size: int | None,
) -> Iterator[StreamedMaps]:
    """Apply a method of the model to every patch. `split` separates the results of patches from those of pixels."""
    height, width, channels = scorer.model.config.image_shape
    batch_size = images_a_batch(scorer, batch_size)
    folded = folded_once(scorer)

    def checked() -> Iterator[Array | np.ndarray]:
        for image in images:
            check_images(image, (None, None, channels))
            yield image

    return stream_maps(
        lambda patches: split(one_call(method, folded, patches, batch_size)),
        checked(),
        patch=(height, width),
        stride=stride,
        patches_a_call=batch_size * batches_a_call(scorer, batch_size),
    )
