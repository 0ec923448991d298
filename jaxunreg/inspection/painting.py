"""Images with ignored pixels painted gray, so that these cannot affect a score.

A place of a map of features sees up to hundreds of pixels beyond its box, so it is not enough to leave places out. A
checkerboard in the ignored area of a generated part raised the mean of the highest counted places by 1,360 nats above a
threshold of 179, and still by 180 when all places within 48 pixels were left out. If it is painted over before the
network sees it, in learning and in scoring, the checkerboard changes nothing, to the last bit.
"""

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from jaxtyping import Bool, Int64

from jaxunreg.inspection.counting import mask_at
from jaxunreg.serialization import fingerprint

GRAY = 128
"""The value of a painted pixel, out of 255."""


def painted(image: Any, ignored: Bool[np.ndarray, "height width"] | None) -> Any:
    """Return an image with its ignored pixels gray, or the image itself without a mask.

    Args:
      image: `[height, width, channels]`; uint8, or floating point in [0, 1].
      ignored: a mask of any size whose sides have the same ratio, or None.

    Raises:
      ArgumentError: the aspect ratios differ.

    >>> image = np.array([[[7], [9]]], np.uint8)
    >>> painted(image, np.array([[True, False]])).tolist(), image.tolist()
    ([[[128], [9]]], [[[7], [9]]])
    """
    # The scorer refuses anything that is not an image.
    if ignored is None or getattr(image, "ndim", 0) != 3:
        return image
    mask = mask_at(ignored, (image.shape[0], image.shape[1]))
    gray = GRAY if np.issubdtype(image.dtype, np.integer) else GRAY / 255
    return np.where(mask[..., None], np.asarray(gray, image.dtype), np.asarray(image))


class PaintedImages(Sequence[np.ndarray]):
    """Images with their ignored pixels gray. They are painted when they are read.

    Args:
      images: images of any sizes.
      sizes: height and width of each.
      ignored: see `painted`.
    """

    def __init__(
        self, images: Sequence[np.ndarray], sizes: Int64[np.ndarray, "n 2"], ignored: Bool[np.ndarray, "_ _"]
    ) -> None:
        self._images, self._ignored = images, ignored
        self.sizes = sizes

    @property
    def fingerprint(self) -> str:
        """A hash of the images and of the ignored area."""
        own = getattr(self._images, "fingerprint", None)
        return fingerprint([np.frombuffer((own or fingerprint(list(self._images))).encode(), np.uint8), self._ignored])

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[np.ndarray]: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | Sequence[np.ndarray]:
        if isinstance(index, slice):
            return PaintedImages(self._images[index], self.sizes[index], self._ignored)
        return painted(self._images[index], self._ignored)
