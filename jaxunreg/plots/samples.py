"""Grids of images, with their reconstructions and errors."""

from typing import Any, TypeAlias

import matplotlib.style
import numpy as np
from jaxtyping import Array, Num
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from jaxunreg.decomposition import half_squared_distance, log_normalizer
from jaxunreg.images import to_float
from jaxunreg.plots.style import ANOMALOUS, DPI, NORMAL, PAGE_WIDTH, STYLE, axes_in_inches

AnyImages: TypeAlias = Num[Array | np.ndarray, "_ _ _ _"]
"""Images `[n, height, width, channels]`; the functions check which lengths of two arguments must agree."""


@matplotlib.style.context(STYLE)
def sample_grid(
    normal: AnyImages,
    anomalous: AnyImages,
    *,
    title: str,
    rows: int,
    columns: int,
    boxes: np.ndarray | None = None,
    box_size: int = 4,
) -> Figure:
    """Normal samples on the left and anomalous ones on the right (Fig. 3, 7 and 8 of the paper).

    The first `rows * columns` images are shown, every pixel as a whole number of the figure's at 150 dpi.

    Args:
      normal: `[n, height, width, channels]`, gray or RGB; uint8, or floating point. Floating point is clipped
        to [0, 1], since a reconstructed mean may leave the range a little.
      anomalous: the same, of the same shape beyond the batch.
      title: title of the figure.
      rows: rows of images in a panel.
      columns: columns of images in a panel.
      boxes: `[n, 2]`, top and left of the erased square in each anomalous image, to be outlined.
      box_size: edge of that square in pixels.

    Returns:
      A figure with two axes.

    Raises:
      ValueError: too few images, shapes that do not fit, a number of channels that is not 1 or 3, or NaN.

    >>> import numpy as np
    >>> images = np.zeros((6, 8, 8, 1), np.uint8)
    >>> figure = sample_grid(images, images, title="Test samples", rows=2, columns=3)
    >>> [axes.get_title() for axes in figure.axes]
    ['normal', 'anomalous']
    """
    panels = {"normal": np.asarray(normal), "anomalous": np.asarray(anomalous)}
    for name, images in panels.items():
        _check_displayable(name, images)
        if rows < 1 or columns < 1 or len(images) < rows * columns:
            raise ValueError(
                f"got {len(images)} {name} images for {rows} rows of {columns}; expected at least one row "
                "and one column, and an image for each place; ask for a smaller grid or hand over more images"
            )
    height, width = panels["normal"].shape[1:3]
    if panels["anomalous"].shape[1:3] != (height, width):
        raise ValueError(
            f"got normal images of {height}x{width} and anomalous ones of "
            f"{'x'.join(map(str, panels['anomalous'].shape[1:3]))}; expected one size"
        )
    if boxes is not None and np.shape(boxes) != (len(panels["anomalous"]), 2):
        raise ValueError(
            f"got boxes of shape {list(np.shape(boxes))}; expected [{len(panels['anomalous'])}, 2], "
            "(top, left) for each anomalous image"
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
        _show(axes, _mosaic(images[: rows * columns], rows, columns, gap))
    if boxes is not None:
        for index, (top, box_left) in enumerate(np.asarray(boxes)[: rows * columns].tolist()):
            row, column = divmod(index, columns)
            _outline(axes, top + row * (height + gap), box_left + column * (width + gap), box_size)
    return figure


@matplotlib.style.context(STYLE)
def error_maps(
    images: AnyImages,
    x_mean: AnyImages,
    x_log_var: AnyImages,
    *,
    title: str,
    boxes: np.ndarray | None = None,
    box_size: int = 4,
) -> Figure:
    """Each image, its reconstruction, error and sigma, and what each pixel adds to A and M (eq. 6).

    One row an image, one colour scale a column: the error `|x - mu_x|` and A are large along every edge, M
    only where the error is larger than the model expected. The maps of A and M are sums over the channels,
    those of the error and of sigma are means. The colour scales end at the 99.5th percentile, so that one
    pixel does not darken the rest.

    Args:
      images: `[n, height, width, channels]`, uint8, or floating point in [0, 1].
      x_mean: `mu_x`, same shape, floating point.
      x_log_var: `log sigma_x^2`, same shape, floating point.
      title: title of the figure.
      boxes: `[n, 2]`, top and left of the erased square in each image, to be outlined.
      box_size: edge of that square in pixels.

    Returns:
      A figure with six axes an image, and four colour bars after them.

    Raises:
      ValueError: no image, shapes that differ, a number of channels that is not 1 or 3, or NaN.

    >>> import numpy as np
    >>> images = np.full((2, 8, 8, 1), 0.5, np.float32)
    >>> figure = error_maps(images, images, 0 * images, title="VAE")
    >>> len(figure.axes)
    16
    """
    _check_displayable("input", np.asarray(images))
    _check_displayable("mean", np.asarray(x_mean))
    _check_displayable("log-variance", np.asarray(x_log_var))
    if not np.shape(images) == np.shape(x_mean) == np.shape(x_log_var):
        raise ValueError(
            f"got images of shape {list(np.shape(images))}, x_mean of {list(np.shape(x_mean))} and x_log_var "
            f"of {list(np.shape(x_log_var))}; expected one shape"
        )
    if boxes is not None and np.shape(boxes) != (len(images), 2):
        raise ValueError(f"got boxes of shape {list(np.shape(boxes))}; expected [{len(images)}, 2], (top, left)")
    x, mean, log_var = to_float(images), to_float(x_mean), to_float(x_log_var)
    maps = {
        r"$|x-\mu_x|$": np.asarray(abs(x - mean)).mean(-1),
        r"$\sigma_x$": np.exp(0.5 * np.asarray(log_var)).mean(-1),
        "$A$ (nats a pixel)": np.asarray(log_normalizer(log_var)).sum(-1),
        "$M$ (nats a pixel)": np.asarray(half_squared_distance(x, mean, log_var)).sum(-1),
    }
    height, width = np.shape(images)[1:3]
    side, gap, above, bar_room = 0.12, 0.07, 0.66, 0.5
    zoom = max(1, round(((PAGE_WIDTH - 2 * side - 5 * gap) / 6) * DPI / width))
    cell_width, cell_height = width * zoom / DPI, height * zoom / DPI
    total = above + len(images) * (cell_height + gap) + bar_room
    figure = Figure(figsize=(2 * side + 6 * cell_width + 5 * gap, total), dpi=DPI)
    figure.suptitle(title, y=1 - 0.1 / total, va="top")
    norms = {}
    for name, values in maps.items():
        low, high = np.percentile(values, (0.5, 99.5))
        low = low if name.startswith("$A") else 0.0
        norms[name] = Normalize(low, high if high > low else low + 1.0)
    colormaps = dict(zip(maps, ("viridis", "viridis", "cividis", "inferno"), strict=True))

    drawn: dict[str, Any] = {}
    for row in range(len(images)):
        bottom = total - above - (row + 1) * (cell_height + gap) + gap
        pictures = {"input $x$": np.asarray(images)[row], r"mean $\mu_x$": np.asarray(x_mean)[row]}
        pictures |= {name: values[row] for name, values in maps.items()}
        for column, (name, picture) in enumerate(pictures.items()):
            axes = axes_in_inches(figure, side + column * (cell_width + gap), bottom, cell_width, cell_height)
            if name in maps:
                drawn[name] = _show(axes, picture, cmap=colormaps[name], norm=norms[name])
            else:
                _show(axes, picture)
            if row == 0:
                axes.set_title(name)
            if column == 0 and boxes is not None:
                top, left = np.asarray(boxes)[row].tolist()
                _outline(axes, top, left, box_size)
    for column, image in enumerate(drawn.values(), start=2):
        left = side + column * (cell_width + gap)
        axes = axes_in_inches(figure, left + 0.08, bar_room - 0.2, cell_width - 0.16, 0.07)
        axes.set_axis_on()
        bar = figure.colorbar(image, cax=axes, orientation="horizontal")
        bar.outline.set_linewidth(0.4)
        bar.locator = MaxNLocator(3)
        bar.update_ticks()
        axes.tick_params(labelsize=8, length=2, width=0.5, pad=1.5)
    return figure


def _check_displayable(name: str, images: np.ndarray) -> None:
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise ValueError(
            f"got {name} images of shape {list(images.shape)}; expected [n, height, width, channels] with "
            "1 or 3 channels and at least one image"
        )
    if not np.isfinite(images).all():
        raise ValueError(f"got {name} images with NaN or infinite values; expected finite values")


def _mosaic(images: np.ndarray, rows: int, columns: int, gap: int) -> np.ndarray:
    _, height, width, channels = images.shape
    white = 255 if images.dtype == np.uint8 else 1
    canvas = np.full((rows, height + gap, columns, width + gap, channels), white, images.dtype)
    canvas[:, :height, :, :width] = images.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return canvas.reshape(rows * (height + gap), columns * (width + gap), channels)[:-gap, :-gap]


def _show(axes: Axes, picture: np.ndarray, **how: Any) -> AxesImage:
    if picture.ndim == 3:
        if picture.dtype != np.uint8:
            picture = np.clip(picture, 0.0, 1.0)
        if picture.shape[-1] == 1:
            # Not as a map of gray colours, which is a gray level off here and there.
            picture = np.repeat(picture, 3, axis=-1)
    return axes.imshow(picture, aspect="auto", interpolation="nearest", **how)


def _outline(axes: Axes, top: int, left: int, size: int) -> None:
    # Outside of the square, whose own pixels are what there is to see, and beyond the image where it ends.
    corner, edge = (left - 1.0, top - 1.0), size + 1.0
    axes.add_patch(Rectangle(corner, edge, edge, fill=False, edgecolor=ANOMALOUS, linewidth=0.8, clip_on=False))
