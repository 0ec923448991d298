"""A scorer whose x is the features of a frozen, pretrained network instead of pixels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxunreg.decomposition import Decomposition
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.features.map_vae import FeatureDensity
from jaxunreg.features.network import FeatureMap, FeatureMaps, FeatureNetwork, arithmetic_of, map_shape
from jaxunreg.features.tiles import features_of
from jaxunreg.images import check_images, to_float
from jaxunreg.integers import check_integer
from jaxunreg.scoring.enlargement import enlarged
from jaxunreg.scoring.feature_stream import seen, stream_working_images
from jaxunreg.scoring.image_maps import ImageMaps
from jaxunreg.scoring.map_scorer import Space
from jaxunreg.scoring.patches import PatchGrid
from jaxunreg.scoring.working_size import SMALLEST_IMAGE, resized
from jaxunreg.typing import AnyImage, PyTree

PLACES_A_BOX = 4
"""Height and width of the box around a place, in places. A place's features are averages over 3x3 places."""


@partial(jax.tree_util.register_dataclass, data_fields=["network", "density"], meta_fields=["size", "channels"])
@dataclass(frozen=True, eq=False)  # Compared and hashed by identity, like a function, so that `jit` takes it.
class FeatureScorer:
    """A feature network and a density of its features as one callable pytree, from an image to a `Decomposition`.

    An image of any size is resized to the working size, the network makes a map of features of it, and each place of
    the map has D, A and M; see `jaxunreg.features.Whitening` and `MapVAE`. M is half the squared Mahalanobis distance
    of the place's features from the normal features there.

    Attributes:
      network: any feature network; its weights are leaves.
      density: Gaussians, or a VAE on the map that starts from them; leaves.
      size: height and width of the working image, static.
      channels: channels of the images, 1 or 3, static.

    >>> import jax, numpy as np
    >>> from jaxunreg.features import WhiteningConfig, fit_whitening, wrap
    >>> network = wrap(lambda weights, images: images[:, ::8, ::8], (), name="thinned")
    >>> images = jax.random.uniform(jax.random.key(0), (9, 32, 48, 3))
    >>> whitening = fit_whitening(network(images), WhiteningConfig(per_place=False))
    >>> scorer = FeatureScorer(network, whitening, (32, 48), channels=3)
    >>> jax.jit(jax.vmap(scorer))(images).m.shape, scorer.maps(images[0]).m.shape
    ((9,), (4, 6))
    >>> [maps] = scorer.maps_each([np.zeros((50, 70, 3), np.uint8)], stride=8)
    >>> maps.patches.m.shape, maps.pixels.m.shape
    ((4, 6), (50, 70))
    """

    network: FeatureNetwork
    density: FeatureDensity
    size: tuple[int, int]
    channels: int

    def __call__(self, image: AnyImage) -> Decomposition:
        """Return D, A and M of one image: the sums over its places.

        Args:
          image: `[height, width, channels]` of any size; uint8, or floating point in [0, 1].

        Returns:
          Float32 scalars, in nats, higher is more anomalous.

        Raises:
          ArgumentError, ArgumentTypeError: the errors of `decompose`, except that any size is allowed.
        """
        return jax.tree.map(jnp.sum, self.maps(image))

    def maps(self, image: AnyImage) -> Decomposition:
        """Return D, A and M of each place of one image; a pure function.

        Args:
          image: as above.

        Returns:
          Float32 `[rows, columns]`, in nats a place, higher is more anomalous.

        Raises:
          ArgumentError, ArgumentTypeError: as above.
        """
        check_images(image, (None, None, self.channels))
        return self.maps_of_features(features_of(self.network, resized(to_float(image), self.size)))

    def maps_of_features(self, features: FeatureMap) -> Decomposition:
        """Return D, A and M of each place of a map that the network made before; a pure function.

        Args:
          features: `[rows, columns, features]`, floating point, of one image at the working size.

        Returns:
          Float32 `[rows, columns]`, in nats a place, higher is more anomalous.

        Raises:
          FeatureError: the map has another shape.
        """
        return self.density(features)

    @property
    def space(self) -> Space:
        """`features`."""
        return "features"

    @property
    def unit(self) -> str:
        """`nats`."""
        return "nats"

    @property
    def stride(self) -> int:
        """Pixels of the working image from one place to the next: the network's stride."""
        return self.network.stride

    @property
    def arithmetic(self) -> str:
        """Arithmetic of the network's matrix products. Everything after the network is in float32."""
        return arithmetic_of(self.network)

    @property
    def smallest_image(self) -> int:
        """The least height and width of an image."""
        return SMALLEST_IMAGE

    @property
    def smoothing(self) -> float:
        """Zero, because heat maps are interpolated between places."""
        return 0.0

    @property
    def learned(self) -> PyTree:
        """The density."""
        return self.density

    def describe(self) -> dict[str, Any]:
        """Describe the network and the density."""
        return {
            "network": self.network.name,
            "sha256": self.network.sha256,
            "arithmetic": self.arithmetic,
            "working_size": self.size,
            "map": map_shape(self.network, *self.size),
            "per_place": self.density.per_place,
            "latent_dim": self.density.latent_dim,
        }

    def check_stride(self, name: str, stride: int) -> None:
        """Refuse a stride that is not the network's.

        Args:
          name: name of the argument, for the error.
          stride: pixels from one place to the next.

        Raises:
          ArgumentTypeError: it is not an integer.
          ArgumentError: it is another stride.
        """
        if check_integer(name, stride, at_least=None) != self.stride:
            raise ArgumentError(
                argument(name, stride),
                f"{self.stride}, the stride of the feature network",
                f"leave {argument(name)} out, or fit at a higher {argument('resolution')} for finer maps",
            )

    def maps_each(
        self,
        images: Iterable[Array | np.ndarray],
        *,
        stride: int,
        pixels: bool = True,
        pixel_stride: int | None = None,
    ) -> Iterator[ImageMaps]:
        """Yield D, A and M of every place, and of every pixel, of each of many images of any sizes, by one program.

        The value of a pixel is interpolated between places, in nats a pixel of the working image. So pixels of images
        of several sizes can be compared, and the mean over all pixels is the sum over all places, divided by the number
        of pixels of the working image. On magnetic tiles of 1,225 sizes AUPRO is 0.74. With nats a pixel of the
        original image it is 0.66.

        Args:
          images: `[height, width, channels]` each; uint8, or floating point in [0, 1]. They are read one after another.
          stride: the network's stride.
          pixels: whether to make the maps of the pixels, too.
          pixel_stride: the network's stride, or None.

        Yields:
          For each image, in order, its maps. `grid` has a box of about four by four places around each place.

        Raises:
          ArgumentError, ArgumentTypeError: another stride, or the errors of `decompose`, but for the size.
        """
        self.check_stride("stride", stride)
        self.check_stride("pixel_stride", stride if pixel_stride is None else pixel_stride)

        def terms(batch: np.ndarray) -> Decomposition:
            return _terms_of(self.density, seen(self.network, batch))

        for one, patches in stream_working_images(terms, images, self.size, self.channels):
            by_pixel = Decomposition(*(enlarged(term, one.size, self.size) for term in patches)) if pixels else None
            yield ImageMaps(patches, by_pixel, _boxes(np.shape(patches.m), one.size))


# Compiled apart from the network, which takes seconds to compile and is already compiled after a fit.
@jax.jit
def _terms_of(density: FeatureDensity, features: FeatureMaps) -> Decomposition:
    return jax.vmap(density)(features)


def _boxes(shape: tuple[int, ...], size: tuple[int, int]) -> PatchGrid:
    """Return the box of each place in the pixels of an image."""

    def starts(places: int, pixels: int) -> tuple[np.ndarray, int, np.ndarray]:
        length = min(pixels, -(-PLACES_A_BOX * pixels // places))
        middles = (np.arange(places) + 0.5) * pixels / places
        return np.clip(np.round(middles - length / 2), 0, pixels - length).astype(np.int64), length, middles

    (tops, tall, rows), (lefts, wide, columns) = (
        starts(places, pixels) for places, pixels in zip(shape, size, strict=True)
    )
    return PatchGrid(tops, lefts, tall, wide, (rows, columns))
