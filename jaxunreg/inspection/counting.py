"""The places and pixels of an image that count, after a mask of those that do not.

A mask belongs to one camera and one fixture. It is laid over an image of any size with the same ratio of sides:

- A **pixel** of the image is ignored if it overlaps an ignored pixel of the mask. It is painted gray before learning
  and scoring (`jaxunreg.inspection.painting`), so it cannot affect a score.
- A **place** (of a map of features, or a patch of pixels) counts if no ignored pixel lies in the box around its middle
  (`PatchGrid.middles`). So a partly gray place, which may be anomalous only for that, does not count either.
- A pixel of the **heat map** counts if the place with the nearest middle counts.
- A place belongs to a **named region** if it counts and its middle lies in the region.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from jaxunreg.errors import ArgumentError
from jaxunreg.scoring.patches import PatchGrid

# The largest relative difference between the aspect ratios of an image and of a mask.
_TOLERANCE = 0.02

# Number of image sizes that are remembered.
_MOST_SIZES = 16


class Counted(NamedTuple):
    """What counts in an image.

    Attributes:
      places: whether each place counts.
      pixels: whether each pixel of the heat map counts, or None if all do.
      named: for each named region, whether each place belongs to it.
    """

    places: Bool[np.ndarray, "rows columns"]
    pixels: Bool[np.ndarray, "height width"] | None
    named: Mapping[str, Bool[np.ndarray, "rows columns"]]


class Counting:
    """What counts in images of any sizes, computed once for each size.

    Args:
      ignored: a mask of the pixels that do not count, or None.
      named: the mask of each named region.

    >>> grid = PatchGrid(np.arange(0, 5, 2), np.arange(0, 7, 2), 2, 2)
    >>> ignored = np.zeros((6, 8), bool)
    >>> ignored[:3, 7] = True
    >>> Counting(ignored, {}).of((6, 8), grid).places.tolist()
    [[True, True, True, False], [True, True, True, False], [True, True, True, True]]
    """

    def __init__(
        self, ignored: Bool[np.ndarray, "height width"] | None, named: Mapping[str, Bool[np.ndarray, "_ _"]]
    ) -> None:
        self._ignored, self._named = ignored, named
        self._known: dict[tuple[tuple[int, int], tuple[int, int]], Counted] = {}

    def of(self, size: tuple[int, int], grid: PatchGrid) -> Counted:
        """Return what counts in an image.

        Args:
          size: its height and width.
          grid: its places.

        Raises:
          ArgumentError: a mask has another aspect ratio, no place counts, or no place belongs to a named region.
        """
        key = size, grid.shape
        if key not in self._known:
            if len(self._known) >= _MOST_SIZES:
                self._known.clear()
            self._known[key] = self._count(size, grid)
        return self._known[key]

    def _count(self, size: tuple[int, int], grid: PatchGrid) -> Counted:
        places, pixels = np.ones(grid.shape, bool), None
        if self._ignored is not None:
            places = ~_in_boxes(mask_at(self._ignored, size), grid)
            if not places.any():
                raise ArgumentError(
                    f"an ignored area that leaves no place of an image of {size[0]}x{size[1]}",
                    f"one that leaves a box of {grid.height}x{grid.width} pixels at least",
                    "ignore less, or score larger images",
                    field="ignored",
                )
            pixels = places[np.ix_(*_nearest(grid, size))]
        middles = np.ix_(*(ends.astype(np.int64) for ends in grid.middles))
        named = {}
        for name, mask in self._named.items():
            inside = mask_at(mask, size)[middles] & places
            if not inside.any():
                raise ArgumentError(
                    f"a region {name!r} in which no place of an image of {size[0]}x{size[1]} counts",
                    "the middle of a place in it",
                    "make it larger, ignore less, or fit at a higher resolution",
                    field="named_regions",
                )
            named[name] = inside
        return Counted(places, pixels, named)


def fits(mask: tuple[int, int], sizes: Int[np.ndarray, "n 2"]) -> Bool[np.ndarray, " n"]:
    """Return whether a mask can be laid over images: whether their aspect ratios agree up to 2 %.

    Args:
      mask: height and width of the mask.
      sizes: height and width of each image.

    >>> fits((12, 15), np.array([[24, 30], [15, 12], [400, 501]])).tolist()
    [True, False, True]
    """
    return np.abs(mask[0] * sizes[:, 1] / (mask[1] * sizes[:, 0]) - 1.0) <= _TOLERANCE


def mask_at(mask: Bool[np.ndarray, "height width"], size: tuple[int, int]) -> Bool[np.ndarray, "{size[0]} {size[1]}"]:
    """Lay a mask over an image: return the pixels of the image that overlap a marked pixel.

    Args:
      mask: a mask of any size.
      size: height and width of the image.

    Raises:
      ArgumentError: the aspect ratios of mask and image differ.

    >>> mask_at(np.array([[True, False], [False, False]]), (3, 3)).astype(int).tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
    >>> mask_at(np.array([[True, False]]), (3, 3))
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got a mask of 1x2 for an image of 3x3; expected sides of the same ratio; draw the
    mask over an image of this camera
    """
    if mask.shape == size:
        return mask
    if not fits((mask.shape[0], mask.shape[1]), np.array([size])).all():
        raise ArgumentError(
            f"a mask of {mask.shape[0]}x{mask.shape[1]} for an image of {size[0]}x{size[1]}",
            "sides of the same ratio",
            "draw the mask over an image of this camera",
            field="mask",
        )
    ends = []
    for have, want in zip(mask.shape, size, strict=True):
        places = np.arange(want)
        ends.append((places * have // want, -(-(places + 1) * have // want)))
    return _any_in(mask, *ends)


def _in_boxes(mask: Bool[np.ndarray, "height width"], grid: PatchGrid) -> Bool[np.ndarray, "rows columns"]:
    """Return whether a marked pixel lies in the box around the middle of each place."""
    ends = []
    for middles, side, length in zip(grid.middles, (grid.height, grid.width), mask.shape, strict=True):
        first, last = np.floor(middles - side / 2), np.ceil(middles + side / 2)
        ends.append((np.clip(first, 0, length).astype(np.int64), np.clip(last, 0, length).astype(np.int64)))
    return _any_in(mask, *ends)


def _any_in(
    mask: Bool[np.ndarray, "height width"], rows: tuple[np.ndarray, np.ndarray], columns: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """Return whether a marked pixel lies in each rectangle, from sums over everything above and left of a corner."""
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    sums[1:, 1:] = mask.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    (top, bottom), (left, right) = rows, columns
    inside = sums[np.ix_(bottom, right)] - sums[np.ix_(top, right)] - sums[np.ix_(bottom, left)]
    return (inside + sums[np.ix_(top, left)]) > 0


def _nearest(grid: PatchGrid, size: tuple[int, int]) -> tuple[Int[np.ndarray, " height"], Int[np.ndarray, " width"]]:
    """Return for each row and column of pixels the row or column of places with the nearest middle."""
    rows, columns = (
        np.searchsorted((middles[1:] + middles[:-1]) / 2, np.arange(length) + 0.5)
        for middles, length in zip(grid.middles, size, strict=True)
    )
    return rows, columns
