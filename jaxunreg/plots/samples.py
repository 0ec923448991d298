"""Grids of normal and of anomalous images."""

import matplotlib.style
import numpy as np
from jaxtyping import Int
from matplotlib.figure import Figure

from jaxunreg.errors import ArgumentError
from jaxunreg.integers import check_integer
from jaxunreg.plots.pictures import ShownImages, check_displayable, outline_square, show_image
from jaxunreg.plots.style import ANOMALOUS, DPI, NORMAL, PAGE_WIDTH, STYLE, axes_in_inches
from jaxunreg.signatures import checked


@checked
@matplotlib.style.context(STYLE)
def sample_grid(
    normal: ShownImages,
    anomalous: ShownImages,
    *,
    title: str,
    rows: int,
    columns: int,
    boxes: Int[np.ndarray, "_ _"] | None = None,
    box_size: int = 4,
) -> Figure:
    """Draw normal samples on the left and anomalous ones on the right (Fig. 3, 7 and 8 of the paper).

    It shows the first `rows * columns` images. At 150 dpi, every pixel is a whole number of the figure's pixels.

    Args:
      normal: `[n, height, width, channels]`, gray or RGB; uint8, or floating point. Floating point is clipped
        to [0, 1], since a reconstructed mean may leave the range a little.
      anomalous: the same, of the same shape beyond the batch.
      title: title of the figure.
      rows: rows of images in a panel.
      columns: columns of images in a panel.
      boxes: `[n, 2]`, top and left of the erased square to outline in each anomalous image.
      box_size: edge of that square in pixels.

    Returns:
      A figure with two axes.

    Raises:
      ArgumentError: too few images, shapes that do not fit, a number of channels that is not 1 or 3, or NaN.

    >>> import numpy as np
    >>> images = np.zeros((6, 8, 8, 1), np.uint8)
    >>> figure = sample_grid(images, images, title="Test samples", rows=2, columns=3)
    >>> [axes.get_title() for axes in figure.axes]
    ['normal', 'anomalous']
    """
    panels = {"normal": np.asarray(normal), "anomalous": np.asarray(anomalous)}
    for name, images in panels.items():
        check_displayable(name, images)
        if rows < 1 or columns < 1 or len(images) < rows * columns:
            raise ArgumentError(
                f"{len(images)} {name} images for {rows} rows of {columns}",
                "at least one row and one column, and an image for each place",
                "ask for a smaller grid or give more images",
            )
    height, width = panels["normal"].shape[1:3]
    if panels["anomalous"].shape[1:3] != (height, width):
        raise ArgumentError(
            f"normal images of {height}x{width} and anomalous ones of "
            f"{'x'.join(map(str, panels['anomalous'].shape[1:3]))}",
            "one size",
            "crop or resize the images",
        )
    check_integer("box_size", box_size, at_least=1)
    if boxes is not None and np.shape(boxes) != (len(panels["anomalous"]), 2):
        raise ArgumentError(
            f"boxes of shape {list(np.shape(boxes))}",
            f"[{len(panels['anomalous'])}, 2], (top, left) for each anomalous image",
            "give the boxes of these images",
        )

    gap = max(1, round(width / 16))
    mosaic_height, mosaic_width = (rows * (height + gap) - gap, columns * (width + gap) - gap)
    side, between, above, below = 0.12, 0.3, 0.62, 0.12
    room = (PAGE_WIDTH - 2 * side - between) / 2 * DPI
    zoom = max(1, round(room / mosaic_width))
    panel_width, panel_height = mosaic_width * zoom / DPI, mosaic_height * zoom / DPI
    figure = Figure(figsize=(2 * (side + panel_width) + between, above + panel_height + below), dpi=DPI)
    figure.suptitle(title, y=1 - 0.1 / figure.get_figheight(), va="top")

    lefts = (side, side + panel_width + between)
    for (name, images), left, color in zip(panels.items(), lefts, (NORMAL, ANOMALOUS), strict=True):
        axes = axes_in_inches(figure, left, below, panel_width, panel_height)
        axes.set_title(name, color=color)
        show_image(axes, _mosaic(images[: rows * columns], rows, columns, gap))
    if boxes is not None:
        for index, (top, box_left) in enumerate(np.asarray(boxes)[: rows * columns].tolist()):
            row, column = divmod(index, columns)
            outline_square(axes, top + row * (height + gap), box_left + column * (width + gap), box_size)
    return figure


def _mosaic(images: np.ndarray, rows: int, columns: int, gap: int) -> np.ndarray:
    _, height, width, channels = images.shape
    white = 255 if images.dtype == np.uint8 else 1
    canvas = np.full((rows, height + gap, columns, width + gap, channels), white, images.dtype)
    canvas[:, :height, :, :width] = images.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return canvas.reshape(rows * (height + gap), columns * (width + gap), channels)[:-gap, :-gap]
