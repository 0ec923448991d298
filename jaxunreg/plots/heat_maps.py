"""What a detector shows: heat maps over their images, and where the scores lie about the threshold."""

import math
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.style
import numpy as np
from jaxtyping import Bool, Float, Num
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from jaxunreg.images import to_float
from jaxunreg.plots.style import ANOMALOUS, DPI, NORMAL, PAGE_WIDTH, STYLE

_COLORMAP = matplotlib.colormaps["plasma"]

# A cyan that the colours of the heat do not have.
_MARK = "#33BBEE"

_TALLEST = 1.35

_LETTERS_A_LINE, _LETTERS_A_TITLE = 125, 80  # in a figure of that width

_SIDE, _GAP, _BAR_ROOM, _CAPTION = 0.12, 0.12, 0.75, 0.3

# Two panels of this width fill that width.
_PANEL = (PAGE_WIDTH - 2 * _SIDE - _GAP - _BAR_ROOM) / 2

# An image with a longer side, in pixels, is large, and one side longer than so many times the other is long.
_LARGE, _LONG = 500, 1.5

# The greatest length and area of an image and its heat together: 3,300 pixels of the figure, and 6 million.
_LONGEST, _AREA = 22.0, 6e6 / DPI**2

# In a lower colour bar the numbers and the label collide; a higher one takes the eye from the image to its end.
_LOWEST_BAR, _HIGHEST_BAR = 1.1, 3 * _PANEL

# A close-up shows three patches each way, and so many pixels at least.
_CONTEXT = 128

# The line about a box, in points, and the smallest box that is found in a large figure, in pixels of the figure.
_LINE, _SMALLEST_BOX = 1.2, 16

# The lowest part of the scale is clear, so that the image is seen as it is where nothing is odd.
_CLEAR, _COVERED, _OPACITY = 0.08, 0.4, 0.85

Box = tuple[int, int, int, int]
"""Top, left, height and width, in pixels."""


@matplotlib.style.context(STYLE)
def heat_map_overlay(
    image: Num[np.ndarray, "height width channels"],
    heat: Float[np.ndarray, "height width"],
    *,
    scale: tuple[float, float],
    title: str,
    verdict: str,
    is_anomalous: bool,
    label: str,
    note: str,
    box: Box | None = None,
    mask: Bool[np.ndarray, "height width"] | None = None,
    mark: float | None = None,
) -> Figure:
    """An image beside its heat map over it in gray, on a scale that all images of a run share.

    The lowest twelfth of the scale is clear. What lies above the scale has its last colour. The figure of a large image
    is larger, up to about 4,000 pixels, with the heat map below the image if that is wide, and with a close-up of the
    box if that is small in it.

    Args:
      image: one channel or three; uint8, or floating point in [0, 1].
      heat: higher is more anomalous.
      scale: the heat of the first and of the last colour.
      title: e.g. the file's name.
      verdict: a line under it, in red if it is anomalous.
      is_anomalous: whether it is.
      label: of the colour bar, with its unit.
      note: a line at the bottom that explains the scale.
      box: the most anomalous patch; a line is drawn around it.
      mask: the defect's pixels, outlined on both, if known.
      mark: a heat to be marked in the colour bar.

    Returns:
      A figure with two axes, two more if there is a close-up, and a colour bar.

    Raises:
      ValueError: a heat map or mask of another size than the image, heat that is not finite, or an empty scale.

    >>> import numpy as np
    >>> image = np.zeros((40, 60, 1), np.uint8)
    >>> text = dict(title="part.png", verdict="normal", is_anomalous=False, label="M, nats a pixel", note="")
    >>> figure = heat_map_overlay(image, image[..., 0] + 0.5, scale=(0.0, 10.0), box=(0, 0, 16, 16), **text)
    >>> len(figure.axes)
    3
    """
    height, width = image.shape[:2]
    for name, values in (("a heat map", heat), ("a mask", mask)):
        if values is not None and values.shape != (height, width):
            raise ValueError(f"got {name} of shape {list(values.shape)}; expected [{height}, {width}], as the image")
    if not np.isfinite(heat).all():
        raise ValueError("got a heat map with NaN or infinite values; expected finite ones")
    norm = _scale(scale)
    views = _views(height, width, box)
    content, body = (max(ends) for ends in zip(*(view.end for view in views), strict=True))
    # The caption of a close-up is wider than that of a narrow image.
    content = max(content, views[-1].left + _PANEL)
    bar_height = min(max(body, _LOWEST_BAR), _HIGHEST_BAR)
    body = max(body, bar_height)
    page = max(PAGE_WIDTH, 2 * _SIDE + content + _BAR_ROOM)
    lines = textwrap.wrap(note, int(_LETTERS_A_LINE * page / PAGE_WIDTH))
    above, below = 0.62, 0.22 + 0.15 * len(lines)
    total = above + body + below
    figure = Figure(figsize=(page, total), dpi=DPI)
    # The end of a path tells more than its beginning.
    letters = int(_LETTERS_A_TITLE * page / PAGE_WIDTH)
    title = title if len(title) <= letters else f"…{title[1 - letters :]}"
    figure.text(_SIDE / page, 1 - 0.12 / total, title, va="top", fontsize=11, fontweight="bold", parse_math=False)
    color = ANOMALOUS if is_anomalous else NORMAL
    figure.text(_SIDE / page, 1 - 0.34 / total, verdict, va="top", fontsize=10, color=color)
    figure.text(_SIDE / page, 0.1 / total, "\n".join(lines), va="bottom", fontsize=8.5, color="#5A5A5A")

    def place(left: float, top: float, width: float, height: float) -> Axes:
        bottom = below + (body - top - height)
        return figure.add_axes(((_SIDE + left) / page, bottom / total, width / page, height / total))

    pixels = np.asarray(to_float(image))
    original = pixels if pixels.shape[-1] == 3 else _as_rgb(pixels[..., 0])
    over = _blend(pixels, norm, heat)
    for view in views:
        for picture, panel in zip((original, over), view.panels, strict=True):
            axes = place(*panel)
            axes.imshow(picture[view.part], aspect="auto")
            axes.set_axis_off()
            _outline(axes, None if mask is None else mask[view.part])
            if box is not None and picture is original:
                axes.add_patch(_around(box, view, color))
    if box is not None and len(views) > 1:
        caption = f"Close-up of the box at row {box[0]}, column {box[1]}"
        x, y = _SIDE + views[1].left, above + views[1].top - 0.07
        figure.text(x / page, 1 - y / total, caption, fontsize=9)
    axes = place(content + 0.1, 0.0, 0.12, bar_height)
    _finish_bar(figure.colorbar(ScalarMappable(norm, _COLORMAP), cax=axes, extend="max"), label)
    if mark is not None:
        axes.axhline(mark, color=_MARK, linewidth=1.4)
    return figure


@matplotlib.style.context(STYLE)
def heat_map_examples(
    images: Sequence[Num[np.ndarray, "_ _ _"]],
    heats: Sequence[Float[np.ndarray, "_ _"]],
    masks: Sequence[Bool[np.ndarray, "_ _"] | None],
    captions: Sequence[tuple[str, bool]],
    *,
    scale: tuple[float, float],
    title: str,
    label: str,
    mark: float | None = None,
) -> Figure:
    """Several images, each above its heat map over it in gray, with the defects outlined.

    Args:
      images: see `heat_map_overlay`.
      heats: of each image.
      masks: of each image, where it is known.
      captions: of each image, and whether it is anomalous to the detector.
      scale: see `heat_map_overlay`.
      title: of the figure.
      label: of the colour bar.
      mark: see `heat_map_overlay`.

    Returns:
      A figure with two axes an image and a colour bar.

    Raises:
      ValueError: no image.

    >>> import numpy as np
    >>> image = np.zeros((40, 60, 1), np.uint8)
    >>> captions = [("crack", True), ("good", False)]
    >>> figure = heat_map_examples([image] * 2, [image[..., 0] + 0.5] * 2, [None] * 2, captions, scale=(0.0, 9.0),
    ...                            title="Examples", label="M, nats a pixel")
    >>> len(figure.axes)
    5
    """
    if not images:
        raise ValueError("got no images; expected at least one")
    norm = _scale(scale)
    side, gap, caption_room, above, below = 0.12, 0.1, 0.24, 0.5, 0.62
    columns = min(4, len(images))
    blocks = [range(start, min(start + columns, len(images))) for start in range(0, len(images), columns)]
    width = (PAGE_WIDTH - 2 * side - (columns - 1) * gap) / columns
    # Within a cell of one width, and not much taller than wide.
    shapes = [
        np.array(image.shape[:2]) * min(width / image.shape[1], _TALLEST * width / image.shape[0]) for image in images
    ]
    heights = [max(shapes[k][0] for k in block) for block in blocks]
    total = above + sum(caption_room + 2 * height + gap for height in heights) + below
    figure = Figure(figsize=(PAGE_WIDTH, total), dpi=DPI)
    figure.suptitle(title, y=1 - 0.1 / total, va="top", parse_math=False)
    top = total - above
    for block, height in zip(blocks, heights, strict=True):
        top -= caption_room
        for column, k in enumerate(block):
            left, (own, across) = side + column * (width + gap), shapes[k]
            pixels = np.asarray(to_float(images[k]))
            pictures = (pixels if pixels.shape[-1] == 3 else _as_rgb(pixels[..., 0]), _blend(pixels, norm, heats[k]))
            for picture, bottom in zip(pictures, (top - own, top - own - 0.03 - own), strict=True):
                axes = figure.add_axes((left / PAGE_WIDTH, bottom / total, across / PAGE_WIDTH, own / total))
                axes.imshow(picture, aspect="auto")
                axes.set_axis_off()
                _outline(axes, masks[k])
            caption, is_anomalous = captions[k]
            color = ANOMALOUS if is_anomalous else NORMAL
            figure.text(left / PAGE_WIDTH, (top + 0.05) / total, caption, fontsize=9, color=color, parse_math=False)
        top -= 2 * height + gap
    axes = figure.add_axes((0.25, 0.42 / total, 0.5, 0.1 / total))
    bar = figure.colorbar(ScalarMappable(norm, _COLORMAP), cax=axes, orientation="horizontal", extend="max")
    _finish_bar(bar, label)
    if mark is not None:
        axes.axvline(mark, color=_MARK, linewidth=1.4)
    return figure


def _scale(scale: tuple[float, float]) -> Normalize:
    low, high = scale
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"got a scale from {low} to {high}; expected two finite heats, the lower first")
    return Normalize(low, high)


class _View(NamedTuple):
    """A part of an image, and its heat, in two panels of a figure; lengths in inches, from the top and the left."""

    part: tuple[slice, slice]
    zoom: float  # inches a pixel
    stacked: bool
    left: float = 0.0
    top: float = 0.0

    @property
    def panels(self) -> list[tuple[float, float, float, float]]:
        """Left, top, width and height of each."""
        height, width = (self.zoom * (along.stop - along.start) for along in self.part)
        right, down = (0.0, height + _GAP) if self.stacked else (width + _GAP, 0.0)
        return [(self.left, self.top, width, height), (self.left + right, self.top + down, width, height)]

    @property
    def end(self) -> tuple[float, float]:
        """Where both end, to the right and at the bottom."""
        left, top, width, height = self.panels[1]
        return left + width, top + height


def _views(height: int, width: int, box: Box | None) -> list[_View]:
    """The whole image, and a close-up of the box if the image is large and much larger than the close-up."""
    large = max(height, width) > _LARGE
    stacked = large and width > _LONG * height
    down, across = (2 * height, width) if stacked else (height, 2 * width)
    # A pixel of the figure for each of a large image, as far as there is room for it.
    zoom = max(_PANEL / width, 1 / DPI if large else 0.0)
    zoom = min(zoom, _LONGEST / down, _LONGEST / across, math.sqrt(_AREA / (down * across)))
    whole = _View((slice(0, height), slice(0, width)), zoom, stacked)
    if not large or box is None:
        return [whole]
    side = max(3 * max(box[2:]), _CONTEXT)
    if max(height, width) < 2 * side:
        return [whole]
    part = (_about(box[0], box[2], side, height), _about(box[1], box[3], side, width))
    tall = height > _LONG * width
    left, top = (whole.end[0] + _GAP, _CAPTION) if tall else (0.0, whole.end[1] + _CAPTION)
    return [whole, _View(part, max(_PANEL / side, 1 / DPI), tall, left, top)]


def _about(start: int, length: int, side: int, end: int) -> slice:
    """So many pixels with a part in their middle, or as near to it as the image's edges let them.

    >>> _about(50, 16, 40, 100), _about(90, 10, 40, 100), _about(5, 10, 40, 30)
    (slice(38, 78, None), slice(60, 100, None), slice(0, 30, None))
    """
    first = max(0, min(start + (length - side) // 2, end - side))
    return slice(first, min(first + side, end))


def _around(box: Box, view: _View, color: str) -> Rectangle:
    """A line about a box, which covers none of its pixels."""
    top, left, height, width = box
    line = _LINE / 72 / view.zoom
    rows, columns = (max(line, (_SMALLEST_BOX / DPI / view.zoom - side) / 2) for side in (height, width))
    corner = (left - view.part[1].start - 0.5 - columns, top - view.part[0].start - 0.5 - rows)
    # At the edge of the image it lies beside the panel.
    return Rectangle(
        corner, width + 2 * columns, height + 2 * rows, fill=False, edgecolor=color, linewidth=_LINE, clip_on=False
    )


def _as_rgb(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, axis=-1)


def _blend(pixels: np.ndarray, norm: Normalize, heat: np.ndarray) -> np.ndarray:
    """Heat over the gray image, `[height, width, 3]`."""
    share = np.clip(np.asarray(norm(heat)), 0.0, 1.0)
    opacity = _OPACITY * np.clip((share - _CLEAR) / (_COVERED - _CLEAR), 0.0, 1.0)[..., None]
    return (1 - opacity) * _as_rgb(pixels.mean(axis=-1)) + opacity * _COLORMAP(share)[..., :3]


def _outline(axes: Axes, mask: np.ndarray | None) -> None:
    # A close-up may lie within the defect.
    if mask is not None and mask.any() and not mask.all():
        axes.contour(mask.astype(float), levels=[0.5], colors=[_MARK], linewidths=0.9)


def _finish_bar(bar: Colorbar, label: str) -> None:
    bar.outline.set_linewidth(0.4)
    bar.set_label(label)
    bar.locator = MaxNLocator(5)
    bar.update_ticks()
    bar.ax.tick_params(labelsize=8.5, length=2, width=0.5)
