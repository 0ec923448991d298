"""What a detector needs of a scorer, whether its x is pixels or features."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Array

from jaxunreg.decomposition import Decomposition
from jaxunreg.scoring.image_maps import ImageMaps
from jaxunreg.typing import AnyImage, PyTree

Space: TypeAlias = Literal["features", "pixels"]
"""What x is in `L(x) = D(x) + A(x) + M(x)`."""


@runtime_checkable
class MapScorer(Protocol):
    """A scorer of images of any sizes: `Scorer`, whose x is pixels, or `FeatureScorer`, whose x is features.

    It is a pytree and a pure function of one image, so it composes with `jit`, `vmap`, `grad` and the like.
    """

    @property
    def space(self) -> Space:
        """What x is."""
        ...

    @property
    def unit(self) -> str:
        """Unit of D, A and M: `"nats"`, or `""` for a model without a density."""
        ...

    @property
    def arithmetic(self) -> str:
        """What matrix products are computed in: `"float32"`, or a narrower dtype and how it is computed."""
        ...

    @property
    def channels(self) -> int:
        """Channels of the images: 1 for gray, 3 for RGB."""
        ...

    @property
    def smallest_image(self) -> int:
        """Height and width that an image has at least, in pixels."""
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
        """What the scorer is made of, JSON data or tuples, for people."""
        ...

    def check_stride(self, name: str, stride: int) -> None:
        """Refuse a stride that this scorer does not have.

        Args:
          name: of the argument, for the error.
          stride: pixels from one patch to the next.

        Raises:
          ArgumentError: it does not have it.
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
        """D, A and M of every patch, and of every pixel, of each of many images of any sizes.

        Args:
          images: `[height, width, channels]` each; uint8, or floating point in [0, 1]. They are read one after another.
          stride: pixels from one patch to the next.
          pixels: whether to make the maps of the pixels, too.
          pixel_stride: stride of the patches that the maps of the pixels are made of; by default `stride`.

        Yields:
          For each image, in order, its maps.
        """
        ...

    def __call__(self, image: AnyImage) -> Decomposition:
        """D, A and M of one image."""
        ...
