"""Connected regions of a heat map above a level: the anomalous places of an image, for machines."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from jaxunreg.errors import ArgumentError
from jaxunreg.inspection.verdict import Box
from jaxunreg.signatures import checked


class Region(NamedTuple):
    """Connected pixels of a heat map above a level.

    Attributes:
      box: the smallest rectangle that contains them, in pixels of the image.
      area: number of pixels.
      peak: the highest of their values, in nats a pixel.
      mean: the mean of their values, in nats a pixel.
    """

    box: Box
    area: int
    peak: float
    mean: float


@checked
def find_regions(
    heat: Float[np.ndarray, "height width"],
    level: float,
    counted: Bool[np.ndarray, "height width"] | None = None,
) -> tuple[Region, ...]:
    """Find the connected regions of a heat map whose pixels lie above a level.

    Pixels that touch at a corner are connected.

    Args:
      heat: heat map of one image, in nats a pixel; higher is more anomalous.
      level: a pixel belongs to a region if `heat > level`, strictly. `AnomalyDetector.pixel_level` is a level that
        normal images exceed at a known rate.
      counted: the pixels that may belong to a region; by default all.

    Returns:
      The regions, the one with the highest peak first.

    Raises:
      ArgumentTypeError: the heat map is not floating point.
      ArgumentError: the heat map is not two-dimensional or holds NaN, or `counted` has another shape.

    >>> heat = np.array([[5.0, 0.0, 0.0, 0.0], [0.0, 7.0, 0.0, 9.0]])
    >>> for region in find_regions(heat, 4.0):
    ...     print(region)
    Region(box=Box(top=1, left=3, height=1, width=1), area=1, peak=9.0, mean=9.0)
    Region(box=Box(top=0, left=0, height=2, width=2), area=2, peak=7.0, mean=6.0)
    """
    import scipy.ndimage  # slow to import, and no score needs it

    above = region_mask(heat, level, counted)
    labels, count = scipy.ndimage.label(above, structure=np.ones((3, 3), bool))
    inside, values = labels[above] - 1, heat[above]
    areas = np.bincount(inside, minlength=count)
    peaks = np.full(count, -np.inf)
    np.maximum.at(peaks, inside, values)
    sums = np.bincount(inside, weights=values, minlength=count)
    found = [
        Region(Box(rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start), area, peak, mean)
        for (rows, columns), area, peak, mean in zip(
            scipy.ndimage.find_objects(labels), areas.tolist(), peaks.tolist(), (sums / areas).tolist(), strict=True
        )
    ]
    return tuple(sorted(found, key=lambda region: (-region.peak, region.box)))


@checked
def region_mask(
    heat: Float[np.ndarray, "height width"],
    level: float,
    counted: Bool[np.ndarray, "height width"] | None = None,
) -> Bool[np.ndarray, "height width"]:
    """Return the pixels of all regions that `find_regions` finds.

    Args:
      heat: see `find_regions`.
      level: see `find_regions`.
      counted: see `find_regions`.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `find_regions`.

    >>> region_mask(np.array([[5.0, 0.0, 7.0]]), 4.0, np.array([[True, True, False]])).tolist()
    [[True, False, False]]
    """
    if np.isnan(heat).any():
        raise ArgumentError(
            f"{int(np.isnan(heat).sum())} of {heat.size} pixels of a heat map that are NaN",
            "numbers",
            "look for NaN in the image, or in the model's variables",
            field="heat",
        )
    above = heat > level
    if counted is None:
        return above
    if counted.shape != heat.shape:
        raise ArgumentError(
            f"counted pixels of shape {list(counted.shape)} for a heat map of shape {list(heat.shape)}",
            "the same shape",
            field="counted",
        )
    return above & counted
