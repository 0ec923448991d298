"""An image beside its heat map."""

import textwrap
from collections.abc import Sequence

import matplotlib.style
import numpy as np
from jaxtyping import Bool, Float, Num
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from jaxunreg.errors import ArgumentError
from jaxunreg.images import to_float
from jaxunreg.inspection.verdict import Box
from jaxunreg.plots.heat_colors import as_rgb, blend, draw_heat_bar, heat_norm, outline_defect, outline_region
from jaxunreg.plots.style import ANOMALOUS, DPI, NORMAL, NOTE, PAGE_WIDTH, STYLE
from jaxunreg.plots.views import BAR_ROOM, PANEL, SIDE, View, views
from jaxunreg.signatures import checked

_LETTERS_A_LINE, _LETTERS_A_TITLE = 125, 80  # in a figure of the page's width

# In a lower colour bar the numbers and the label collide. A higher one draws the eye away from the image.
_LOWEST_BAR, _HIGHEST_BAR = 1.1, 3 * PANEL

# The line around a box, in points, and the smallest box that readers find in a large figure, in pixels of the figure.
_LINE, _SMALLEST_BOX = 1.2, 16


@checked
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
    counted: Bool[np.ndarray, "height width"] | None = None,
    regions: Sequence[Bool[np.ndarray, "height width"]] = (),
) -> Figure:
    """Draw an image beside its heat map over it in gray, on a scale that all images of a run share.

    The lowest twelfth of the scale is clear. Heat above the scale has the last colour. A large image has a larger
    figure, up to about 4,000 pixels. If the image is wide, its heat map is below it. If the box is small in the image,
    the figure has a close-up of the box.

    Args:
      image: one channel or three; uint8, or floating point in [0, 1].
      heat: higher is more anomalous.
      scale: the heats of the first and of the last colour.
      title: e.g. the file's name.
      verdict: a line under the title, in red if the image is anomalous.
      is_anomalous: whether the image is anomalous.
      label: label of the colour bar, with its unit.
      note: a line at the bottom that explains the scale.
      box: the most anomalous patch; a line is drawn around it.
      mask: the defect's pixels, if known, outlined on both.
      mark: a heat to mark in the colour bar.
      counted: the pixels that count; the others are pale and without heat.
      regions: named regions, each with a dotted line around it on both.

    Returns:
      A figure with two axes, two more if there is a close-up, and a colour bar.

    Raises:
      ArgumentError: a heat map, a mask, a region or counted pixels of another size than the image, heat that is not
        finite, or an empty scale.

    >>> import numpy as np
    >>> image = np.zeros((40, 60, 1), np.uint8)
    >>> text = dict(title="part.png", verdict="normal", is_anomalous=False, label="M, nats a pixel", note="")
    >>> figure = heat_map_overlay(image, image[..., 0] + 0.5, scale=(0.0, 10.0), box=Box(0, 0, 16, 16), **text)
    >>> len(figure.axes)
    3
    """
    height, width = image.shape[:2]
    named = [("a region", region) for region in regions]
    for name, values in (("a heat map", heat), ("a mask", mask), ("counted pixels", counted), *named):
        if values is not None and values.shape != (height, width):
            raise ArgumentError(
                f"{name} of shape {list(values.shape)}",
                f"[{height}, {width}], as the image",
                "give one that belongs to this image",
            )
    if not np.isfinite(heat).all():
        raise ArgumentError("a heat map with NaN or infinite values", "finite ones", "see what the scorer was given")
    norm = heat_norm(scale)
    shown = views(height, width, box)
    content, body = (max(ends) for ends in zip(*(view.end for view in shown), strict=True))
    # The caption of a close-up is wider than the caption of a narrow image.
    content = max(content, shown[-1].left + PANEL)
    bar_height = min(max(body, _LOWEST_BAR), _HIGHEST_BAR)
    body = max(body, bar_height)
    page = max(PAGE_WIDTH, 2 * SIDE + content + BAR_ROOM)
    lines = textwrap.wrap(note, int(_LETTERS_A_LINE * page / PAGE_WIDTH))
    above, below = 0.62, 0.22 + 0.15 * len(lines)
    total = above + body + below
    figure = Figure(figsize=(page, total), dpi=DPI)
    # The end of a path says more than its beginning.
    letters = int(_LETTERS_A_TITLE * page / PAGE_WIDTH)
    title = title if len(title) <= letters else f"…{title[1 - letters :]}"
    figure.text(SIDE / page, 1 - 0.12 / total, title, va="top", fontsize=11, fontweight="bold", parse_math=False)
    color = ANOMALOUS if is_anomalous else NORMAL
    figure.text(SIDE / page, 1 - 0.34 / total, verdict, va="top", fontsize=10, color=color)
    figure.text(SIDE / page, 0.1 / total, "\n".join(lines), va="bottom", fontsize=8.5, color=NOTE)

    def place(left: float, top: float, width: float, height: float) -> Axes:
        bottom = below + (body - top - height)
        return figure.add_axes(((SIDE + left) / page, bottom / total, width / page, height / total))

    pixels = np.asarray(to_float(image))
    original, over = as_rgb(pixels), blend(pixels, norm, heat, counted)
    for view in shown:
        for picture, panel in zip((original, over), view.panels, strict=True):
            axes = place(*panel)
            axes.imshow(picture[view.part], aspect="auto")
            axes.set_axis_off()
            outline_defect(axes, None if mask is None else mask[view.part])
            for region in regions:
                outline_region(axes, region[view.part])
            if box is not None and picture is original:
                axes.add_patch(_around(box, view, color))
    if box is not None and len(shown) > 1:
        caption = f"Close-up of the box at row {box.top}, column {box.left}"
        x, y = SIDE + shown[1].left, above + shown[1].top - 0.07
        figure.text(x / page, 1 - y / total, caption, fontsize=9)
    draw_heat_bar(place(content + 0.1, 0.0, 0.12, bar_height), norm, label, mark, horizontal=False)
    return figure


def _around(box: Box, view: View, color: str) -> Rectangle:
    """Return a line around a box that covers none of its pixels."""
    line = _LINE / 72 / view.zoom
    rows, columns = (max(line, (_SMALLEST_BOX / DPI / view.zoom - side) / 2) for side in (box.height, box.width))
    corner = (box.left - view.part[1].start - 0.5 - columns, box.top - view.part[0].start - 0.5 - rows)
    size = (box.width + 2 * columns, box.height + 2 * rows)
    # The line of a box at the edge of the image lies outside of the panel.
    return Rectangle(corner, *size, fill=False, edgecolor=color, linewidth=_LINE, clip_on=False)
