"""The settings of a sweep and their results."""

from collections.abc import Mapping, Sequence

import matplotlib.style
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Curve
from matplotlib.ticker import LogLocator, MaxNLocator

from jaxunreg.errors import ArgumentError
from jaxunreg.plots.style import DPI, INK, PAGE_WIDTH, STYLE, TITLE_SIZE
from jaxunreg.signatures import checked

# Light yellow is hard to see on white, so the upper end of the map is cut off.
_MAP = colormaps["viridis"]

_MAP_END = 0.92

_MOST_TICKS = 7


@checked
@matplotlib.style.context(STYLE)
def parallel_coordinates(
    axes: Mapping[str, Sequence[int | float]], values: Sequence[int | float], *, title: str, label: str
) -> Figure:
    """Draw a line for each trial, across one vertical axis for each hyper-parameter, to the trial's result.

    On an axis with few values, the values are evenly spaced, each with a tick. Lines of one value are a little apart,
    the best uppermost. An axis with many values is linear, or logarithmic if they span more than a factor of 20. The
    colour of a line shows its result, and the best are drawn last.

    Args:
      axes: for each name the values of all trials, `[trials]`; at least one axis.
      values: the result of each trial, e.g. its ROC AUC, higher = better, `[trials]`.
      title: title of the figure.
      label: name of `values`.

    Returns:
      A figure with one axes; the trials are its patches, in the order of `values`.

    Raises:
      ArgumentError: there is no axis or trial, the numbers of values and trials differ, or a value is not finite.

    >>> figure = parallel_coordinates({"$N_z$": [5, 20]}, [0.7, 0.9], title="Trials", label="ROC AUC")
    >>> len(figure.axes[0].patches)
    2
    """
    columns = {name: np.asarray(column, float) for name, column in axes.items()}
    ends = np.asarray(values, float)
    lengths = {name: len(column) for name, column in columns.items()}
    if not columns or not len(ends) or set(lengths.values()) != {len(ends)}:
        raise ArgumentError(
            f"{lengths} values on the axes and {len(ends)} results",
            "equally many, and at least one",
            "give a value of every trial on every axis",
        )
    if not all(np.isfinite(column).all() for column in (*columns.values(), ends)):
        raise ArgumentError("a value that is not finite", "finite values", "leave out the trials that failed")

    figure = Figure(figsize=(PAGE_WIDTH, 3.6), dpi=DPI, layout="constrained")
    plot = figure.subplots()
    plot.set_title(title, fontsize=TITLE_SIZE, pad=22.0)
    low, high = ends.min(), ends.max()
    norm = Normalize(low, high) if high > low else Normalize(low - 0.5, high + 0.5)
    order = np.argsort(ends, kind="stable")
    rank = np.empty(len(ends))
    rank[order] = np.arange(len(ends)) / max(len(ends) - 1, 1) - 0.5
    heights = [_draw_scale(plot, at, name, column, rank) for at, (name, column) in enumerate(columns.items())]
    heights.append(np.asarray(norm(ends)))
    last = len(columns)
    _draw_result_scale(plot, last, label, norm)

    for trial in range(len(ends)):
        points = [(0.0, heights[0][trial])]
        for at in range(1, len(heights)):
            start, end = heights[at - 1][trial], heights[at][trial]
            points += [(at - 0.55, start), (at - 0.45, end), (float(at), end)]
        plot.add_patch(
            PathPatch(
                Curve(points, [Curve.MOVETO] + [Curve.CURVE4] * (len(points) - 1)),
                facecolor="none",
                edgecolor=_MAP(_MAP_END * float(norm(ends[trial]))),
                linewidth=1.1,
                alpha=0.85,
                zorder=2 + (rank[trial] + 0.5),
            )
        )
    plot.set_xlim(-0.3, last + 0.12)
    plot.set_ylim(-0.06, 1.06)
    plot.set_axis_off()
    return figure


def _draw_scale(plot: Axes, at: int, name: str, column: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Draw a vertical axis at `at`, and return the height of each trial on it, 0 to 1."""
    distinct = np.unique(column)
    if len(distinct) <= _MOST_TICKS:
        count = len(distinct)
        ticks = (np.arange(count) + 0.5) / count
        labels = [f"{value:g}" for value in distinct]
        heights = ticks[np.searchsorted(distinct, column)] + 0.7 * rank / count
    else:
        log = distinct[0] > 0 and distinct[-1] > 20 * distinct[0]
        low, high = distinct[0], distinct[-1]
        locator = LogLocator(subs=(1.0, 2.0, 5.0) if high < 300 * low else (1.0,)) if log else MaxNLocator(5)
        candidates = np.asarray(locator.tick_values(low, high))
        inside = candidates[(candidates >= low) & (candidates <= high)]

        def height(values: np.ndarray) -> np.ndarray:
            if log:
                return np.log(values / low) / np.log(high / low)
            return (values - low) / (high - low)

        ticks, labels, heights = height(inside), [f"{value:g}" for value in inside], height(column)
    plot.plot([at, at], [0, 1], color=INK, linewidth=0.8, zorder=4)
    for tick, text in zip(ticks, labels, strict=True):
        plot.plot([at - 0.025, at], [tick, tick], color=INK, linewidth=0.8, zorder=4)
        _label(plot, at - 0.04, tick, text)
    plot.annotate(name, (at, 1), (0, 9), textcoords="offset points", ha="center", va="bottom", fontsize=10)
    return heights


def _draw_result_scale(plot: Axes, at: int, label: str, norm: Normalize) -> None:
    strip = plot.inset_axes((at, 0.0, 0.05, 1.0), transform=plot.transData)
    shown = ListedColormap(_MAP(np.linspace(0, _MAP_END, 256)))
    bar = plot.figure.colorbar(ScalarMappable(norm, shown), cax=strip)
    bar.outline.set_linewidth(0.6)
    bar.locator = MaxNLocator(6)
    bar.update_ticks()
    plot.annotate(label, (at, 1), (4, 9), textcoords="offset points", ha="center", va="bottom", fontsize=10)


def _label(plot: Axes, x: float, y: float, text: str) -> None:
    halo = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "boxstyle": "square,pad=0.1"}
    plot.text(x, y, text, ha="right", va="center", fontsize=9, zorder=5, bbox=halo)
