"""The parts of an image that an overlay shows, and their places in the figure."""

import math
from typing import NamedTuple

from jaxunreg.inspection.verdict import Box
from jaxunreg.plots.style import DPI, PAGE_WIDTH

SIDE, GAP, BAR_ROOM, CAPTION = 0.12, 0.12, 0.75, 0.3
"""Inches: margin of the figure, between two panels, for the colour bar, and above a close-up."""

PANEL = (PAGE_WIDTH - 2 * SIDE - GAP - BAR_ROOM) / 2
"""Inches: two panels of this width fill a page."""

# An image is large if one of its sides has more pixels than the first number. It is long if one side is longer than the
# other by more than the second number.
_LARGE, _LONG = 500, 1.5

# The greatest length and area of an image and its heat together: 3,300 and 6 million pixels of the figure.
_LONGEST, _AREA = 22.0, 6e6 / DPI**2

# A close-up shows three patches in each direction, and at least this many pixels.
_CONTEXT = 128


class View(NamedTuple):
    """A part of an image and its heat, in two panels of a figure. Lengths are in inches, from the top and the left."""

    part: tuple[slice, slice]
    zoom: float  # inches a pixel
    stacked: bool
    left: float = 0.0
    top: float = 0.0

    @property
    def panels(self) -> list[tuple[float, float, float, float]]:
        """Left, top, width and height of each panel."""
        height, width = (self.zoom * (along.stop - along.start) for along in self.part)
        right, down = (0.0, height + GAP) if self.stacked else (width + GAP, 0.0)
        return [(self.left, self.top, width, height), (self.left + right, self.top + down, width, height)]

    @property
    def end(self) -> tuple[float, float]:
        """The right and the lower end of both panels."""
        left, top, width, height = self.panels[1]
        return left + width, top + height


def views(height: int, width: int, box: Box | None) -> list[View]:
    """Return the whole image, and a close-up of the box if the image is large and much larger than the close-up.

    >>> len(views(256, 256, Box(0, 0, 16, 16))), len(views(900, 1100, Box(0, 0, 16, 16)))
    (1, 2)
    """
    large = max(height, width) > _LARGE
    stacked = large and width > _LONG * height
    down, across = (2 * height, width) if stacked else (height, 2 * width)
    # One pixel of the figure for each pixel of a large image, as far as there is room.
    zoom = max(PANEL / width, 1 / DPI if large else 0.0)
    zoom = min(zoom, _LONGEST / down, _LONGEST / across, math.sqrt(_AREA / (down * across)))
    whole = View((slice(0, height), slice(0, width)), zoom, stacked)
    if not large or box is None:
        return [whole]
    side = max(3 * max(box[2:]), _CONTEXT)
    if max(height, width) < 2 * side:
        return [whole]
    part = (_about(box[0], box[2], side, height), _about(box[1], box[3], side, width))
    tall = height > _LONG * width
    left, top = (whole.end[0] + GAP, CAPTION) if tall else (0.0, whole.end[1] + CAPTION)
    return [whole, View(part, max(PANEL / side, 1 / DPI), tall, left, top)]


def _about(start: int, length: int, side: int, end: int) -> slice:
    """Return `side` pixels with a part in their middle, or as near to it as the image's edges allow.

    >>> _about(50, 16, 40, 100), _about(90, 10, 40, 100), _about(5, 10, 40, 30)
    (slice(38, 78, None), slice(60, 100, None), slice(0, 30, None))
    """
    first = max(0, min(start + (length - side) // 2, end - side))
    return slice(first, min(first + side, end))
