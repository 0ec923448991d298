"""The heat maps of several models, side by side."""

from collections.abc import Mapping

import matplotlib.style
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxunreg.errors import ArgumentError
from jaxunreg.plots.style import ANOMALOUS, DPI, PAGE_WIDTH, STYLE
from jaxunreg.signatures import checked

_COLUMNS = 4

# Percent of the pixels that the brightness of a map spans. One pixel far above the rest would leave all others dark.
_TOLD_APART = 99.9


@checked
@matplotlib.style.context(STYLE)
def heat_map_comparison(
    image: Float[np.ndarray, "height width channels"],
    mask: Bool[np.ndarray, "height width"] | None,
    maps: Mapping[str, np.ndarray],
    *,
    title: str,
) -> Figure:
    """Draw an image, its mask and the heat maps of several scores (Fig. 11 of the paper).

    Each map is normalised to [0, 1] separately, as in the paper, and brighter is more anomalous. The highest thousandth
    of its pixels is equally bright. Below a map stand the lowest value, the lowest value of the brightest pixels, and
    the highest value. The outline of the mask is drawn over the image.

    Args:
      image: floating point in [0, 1], one channel or three.
      mask: pixels of the defect; with None there is no panel for it.
      maps: label to map `[height, width]`, higher = more anomalous.
      title: title of the figure.

    Returns:
      A figure with an axes for the image, one for the mask, and one for each map.

    Raises:
      ArgumentError: no map, or a mask or map of another size than the image, or not finite.

    >>> import numpy as np
    >>> image = np.zeros((8, 6, 1))
    >>> figure = heat_map_comparison(image, image[..., 0] > 0, {"VAE, M": image[..., 0]}, title="part")
    >>> [axes.get_title() for axes in figure.axes]
    ['image', 'ground truth', 'VAE, M']
    """
    height, width = image.shape[:2]
    if not maps:
        raise ArgumentError("no maps", "at least one", "give the heat map of each model")
    for name, values in {**({"the mask": mask} if mask is not None else {}), **maps}.items():
        if np.shape(values) != (height, width):
            raise ArgumentError(
                f"{name} of shape {list(np.shape(values))}",
                f"[{height}, {width}]",
                "give one that belongs to this image",
            )
        if not np.isfinite(values).all():
            raise ArgumentError(f"{name} with NaN or infinite values", "finite ones", "see what the scorer was given")
    panels = 1 + (mask is not None) + len(maps)
    columns = min(_COLUMNS, panels)
    rows = -(-panels // columns)
    figure = Figure(
        figsize=(PAGE_WIDTH, 0.45 + rows * (PAGE_WIDTH / columns * height / width + 0.45)),
        dpi=DPI,
        layout="constrained",
    )
    figure.suptitle(title, parse_math=False)
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in grid[panels:]:
        unused.remove()
    axes = iter(grid)
    picture = _bare(next(axes), "image")
    picture.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0.0, vmax=1.0)
    if mask is not None:
        if mask.any():
            picture.contour(mask.astype(float), levels=[0.5], colors=[ANOMALOUS], linewidths=0.8)
        _bare(next(axes), "ground truth").imshow(mask, cmap="gray", vmin=0, vmax=1)
    for name, values in maps.items():
        panel = _bare(next(axes), name)
        low, high = values.min(), np.percentile(values, _TOLD_APART)
        if high <= low:  # All but a few pixels are the same.
            high = values.max()
        panel.imshow(values, cmap="inferno", vmin=low, vmax=high)
        panel.set_xlabel(f"{low:.3g} to {high:.3g}, highest {values.max():.3g}", fontsize=8)
    return figure


def _bare(axes: Axes, title: str) -> Axes:
    axes.set_title(title)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes
