"""What a detector needs of a scorer, for pixels and for features."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Array

from jaxunreg.decomposition import Decomposition
from jaxunreg.scoring.image_maps import ImageMaps
from jaxunreg.typing import AnyImage, PyTree

Space: TypeAlias = Literal["features", "pixels"]
"""The space of x in `L(x) = D(x) + A(x) + M(x)`."""


@runtime_checkable
class MapScorer(Protocol):
    """A scorer of images of any sizes: `Scorer` for pixels, or `FeatureScorer` for features.

    It is a pytree and a pure function of one image, so it composes with `jit`, `vmap`, `grad` and the like.
    """

    @property
    def space(self) -> Space:
        """The space of x."""
        ...

    @property
    def unit(self) -> str:
        """Unit of D, A and M: `"nats"`, or `""` for a model without a density."""
        ...

    @property
    def arithmetic(self) -> str:
        """Arithmetic of the matrix products: `"float32"`, or a narrower dtype and how it is computed."""
        ...

    @property
    def channels(self) -> int:
        """Channels of the images: 1 for gray, 3 for RGB."""
        ...

    @property
    def smallest_image(self) -> int:
        """The least height and width of an image, in pixels."""
        ...

    @property
    def smoothing(self) -> float:
        """Standard deviation by which shown heat maps are smoothed, in pixels of the image."""
        ...

    @property
    def learned(self) -> PyTree:
        """The arrays that were learned from images. They are saved with a detector, and their SHA-256 is checked."""
        ...

    def describe(self) -> dict[str, Any]:
        """Describe the scorer for people, in JSON data or tuples."""
        ...

    def check_stride(self, name: str, stride: int) -> None:
        """Refuse a stride that this scorer does not have.

        Args:
          name: name of the argument, for the error.
          stride: pixels from one patch to the next.

        Raises:
          ArgumentError: the scorer does not have this stride.
        """
        ...

    def maps_each(
        self,
        images: Iterable[Array | np.ndarray],
        *,
        stride: int,
        pixels: bool = True,
        pixel_stride: int | None = None,
    ) -> Iterator[ImageMaps]:
        """Yield D, A and M of every patch, and of every pixel, of each of many images of any sizes.

        Args:
          images: `[height, width, channels]` each; uint8, or floating point in [0, 1]. They are read one after another.
          stride: pixels from one patch to the next.
          pixels: whether to make the maps of the pixels, too.
          pixel_stride: stride of the patches from which the maps of the pixels are made; by default `stride`.

        Yields:
          For each image, in order, its maps.
        """
        ...

    def __call__(self, image: AnyImage) -> Decomposition:
        """Return D, A and M of one image."""
        ...
