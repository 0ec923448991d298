"""Images with their reconstructions, errors and terms of each pixel."""

from typing import Any

import matplotlib.style
import numpy as np
from jaxtyping import Int
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxunreg.decomposition import half_squared_distance, log_normalizer
from jaxunreg.errors import ArgumentError
from jaxunreg.images import to_float
from jaxunreg.integers import check_integer
from jaxunreg.plots.pictures import ShownImages, check_displayable, outline_square, show_image
from jaxunreg.plots.style import DPI, PAGE_WIDTH, STYLE, axes_in_inches
from jaxunreg.signatures import checked


@checked
@matplotlib.style.context(STYLE)
def error_maps(
    images: ShownImages,
    x_mean: ShownImages,
    x_log_var: ShownImages,
    *,
    title: str,
    boxes: Int[np.ndarray, "_ _"] | None = None,
    box_size: int = 4,
) -> Figure:
    """Draw each image, its reconstruction, error and sigma, and what each pixel adds to A and M (eq. 6).

    Each image has a row, and each column has one colour scale. The error `|x - mu_x|` and A are large along every edge.
    M is large only where the error is larger than the model expected. The maps of A and M are sums over the channels.
    The maps of the error and of sigma are means. The colour scales end at the 99.5th percentile, so that one pixel does
    not darken the rest.

    Args:
      images: `[n, height, width, channels]`, uint8, or floating point in [0, 1].
      x_mean: `mu_x`, same shape, floating point.
      x_log_var: `log sigma_x^2`, same shape, floating point.
      title: title of the figure.
      boxes: `[n, 2]`, top and left of the erased square to outline in each image.
      box_size: edge of that square in pixels.

    Returns:
      A figure with six axes an image, and four colour bars after them.

    Raises:
      ArgumentError: no image, shapes that differ, a number of channels that is not 1 or 3, or NaN.

    >>> import numpy as np
    >>> images = np.full((2, 8, 8, 1), 0.5, np.float32)
    >>> figure = error_maps(images, images, 0 * images, title="VAE")
    >>> len(figure.axes)
    16
    """
    check_displayable("input", np.asarray(images))
    check_displayable("mean", np.asarray(x_mean))
    check_displayable("log-variance", np.asarray(x_log_var))
    if not np.shape(images) == np.shape(x_mean) == np.shape(x_log_var):
        raise ArgumentError(
            f"images of shape {list(np.shape(images))}, x_mean of {list(np.shape(x_mean))} and x_log_var "
            f"of {list(np.shape(x_log_var))}",
            "one shape",
            "reconstruct these images",
        )
    check_integer("box_size", box_size, at_least=1)
    if boxes is not None and np.shape(boxes) != (len(images), 2):
        raise ArgumentError(
            f"boxes of shape {list(np.shape(boxes))}",
            f"[{len(images)}, 2], (top, left)",
            "give the boxes of these images",
        )
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
                drawn[name] = show_image(axes, picture, cmap=colormaps[name], norm=norms[name])
            else:
                show_image(axes, picture)
            if row == 0:
                axes.set_title(name)
            if column == 0 and boxes is not None:
                top, left = np.asarray(boxes)[row].tolist()
                outline_square(axes, top, left, box_size)
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
