"""Maps of places of a feature network as maps of pixels."""

import functools
from typing import Any

import numpy as np
from jaxtyping import Float, Float64


def enlarged(
    places: Float[np.ndarray, "rows columns"], size: tuple[int, int], working_size: tuple[int, int]
) -> Float64[np.ndarray, "{size[0]} {size[1]}"]:
    """Return a term of places as a term of pixels, interpolated between the centres of the places.

    Args:
      places: the term of each place, in nats a place.
      size: height and width of the original image.
      working_size: height and width at which the network saw it.

    Returns:
      The term in nats a pixel of the working image, so that pixels of images of several sizes can be compared. The mean
      over all pixels is the sum over all places, divided by the number of pixels of the working image.

    >>> pixels = enlarged(np.array([[32.0, 0.0]]), (2, 8), working_size=(4, 8))
    >>> float(pixels.mean()), pixels[0].tolist()
    (1.0, [2.0, 2.0, 1.75, 1.25, 0.75, 0.25, 0.0, 0.0])
    """
    rows, columns = (_shares(count, length) for count, length in zip(places.shape, size, strict=True))
    return (
        (size[0] * size[1]) / (working_size[0] * working_size[1]) * (rows @ (columns @ places.T.astype(np.float64)).T)
    )


@functools.lru_cache(maxsize=16)
def _shares(places: int, pixels: int) -> Any:
    """Return the share of each place in each pixel of an axis, by linear interpolation between the places' centres.

    A sparse matrix `[pixels, places]`.
    """
    import scipy.sparse  # slow to import, and no score needs it

    centers = np.clip((np.arange(pixels) + 0.5) * places / pixels - 0.5, 0, places - 1)
    reach = max(1.0, places / pixels)
    weights = np.maximum(0.0, 1.0 - np.abs(centers[:, None] - np.arange(places)[None]) / reach)
    return scipy.sparse.csr_array(weights / weights.sum(axis=0, keepdims=True))
