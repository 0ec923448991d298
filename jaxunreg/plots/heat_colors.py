"""The colours of a heat map. A heat has the same colour in all figures that share a scale."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator

from jaxunreg.errors import ArgumentError
from jaxunreg.plots.style import MARK

_COLORMAP = matplotlib.colormaps["plasma"]

# The lowest part of the scale is clear, so that the image stays unchanged where nothing is anomalous.
_CLEAR, _COVERED, _OPACITY = 0.08, 0.4, 0.85


# Share of its darkness that a pixel that does not count keeps.
_PALE = 0.25


def heat_norm(scale: tuple[float, float]) -> Normalize:
    """Return the map from the heats of a scale to [0, 1].

    Raises:
      ArgumentError: the scale is empty or not finite.
    """
    low, high = scale
    if not (np.isfinite([low, high]).all() and low < high):
        raise ArgumentError(
            f"a scale from {low} to {high}", "two finite heats, the lower first", "take a range of the heat maps"
        )
    return Normalize(low, high)


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Return an image `[height, width, channels]` of one channel or three with three channels."""
    return pixels if pixels.shape[-1] == 3 else np.repeat(pixels[..., :1], 3, axis=-1)


def blend(pixels: np.ndarray, norm: Normalize, heat: np.ndarray, counted: np.ndarray | None = None) -> np.ndarray:
    """Blend heat over the image in gray, `[height, width, 3]`. Pixels that do not count are pale and without heat."""
    share = np.clip(np.asarray(norm(heat)), 0.0, 1.0)
    opacity = _OPACITY * np.clip((share - _CLEAR) / (_COVERED - _CLEAR), 0.0, 1.0)[..., None]
    gray = as_rgb(pixels.mean(axis=-1, keepdims=True))
    over = (1 - opacity) * gray + opacity * _COLORMAP(share)[..., :3]
    return over if counted is None else np.where(counted[..., None], over, 1.0 - _PALE * (1.0 - gray))


def outline_defect(axes: Axes, mask: np.ndarray | None) -> None:
    """Draw a line around the pixels of a defect, if they are known."""
    # A close-up may lie within the defect.
    if mask is not None and mask.any() and not mask.all():
        axes.contour(mask.astype(float), levels=[0.5], colors=[MARK], linewidths=0.9)


def outline_region(axes: Axes, mask: np.ndarray) -> None:
    """Draw a dotted line around a named region."""
    if mask.any() and not mask.all():
        axes.contour(mask.astype(float), levels=[0.5], colors=[MARK], linewidths=0.9, linestyles="dotted")


def draw_heat_bar(axes: Axes, norm: Normalize, label: str, mark: float | None, *, horizontal: bool) -> Colorbar:
    """Draw the colour bar of a scale.

    Args:
      axes: the axes to draw into.
      norm: see `heat_norm`.
      label: name of the heat, with its unit.
      mark: a heat to mark.
      horizontal: draw it horizontally. Otherwise it is vertical.
    """
    orientation = "horizontal" if horizontal else "vertical"
    bar = axes.figure.colorbar(ScalarMappable(norm, _COLORMAP), cax=axes, orientation=orientation, extend="max")
    bar.outline.set_linewidth(0.4)
    bar.set_label(label)
    bar.locator = MaxNLocator(5)
    bar.update_ticks()
    bar.ax.tick_params(labelsize=8.5, length=2, width=0.5)
    if mark is not None:
        (axes.axvline if horizontal else axes.axhline)(mark, color=MARK, linewidth=1.4)
    return bar
