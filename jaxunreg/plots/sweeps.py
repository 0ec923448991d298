"""The figures of a sweep: which settings lead to which AUC, and AUC against a size with its spread over seeds."""

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
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from jaxunreg.plots.style import COLORS, DPI, PAGE_WIDTH, QUIET, SCORES, STYLE, Look

# Light yellow is lost on white, so the upper end of the map is cut off.
_MAP = colormaps["viridis"]

_MAP_END = 0.92

_MOST_TICKS = 7


@matplotlib.style.context(STYLE)
def parallel_coordinates(
    axes: Mapping[str, Sequence[int | float]], values: Sequence[int | float], *, title: str, label: str
) -> Figure:
    """A line for each trial across one vertical axis for each hyper-parameter, ending at what came of it.

    An axis with few values has them evenly spaced, each with a tick, and its lines stand a little beside each other,
    the best uppermost. One with many is linear, or logarithmic where they span more than a factor of 20. Lines are
    coloured by where they end, and the best are drawn last.

    Args:
      axes: name to the value of each trial, `[trials]`; at least one axis.
      values: what came of each trial, e.g. its ROC AUC, higher = better, `[trials]`.
      title: title of the figure.
      label: name of `values`.

    Returns:
      A figure with one axes; the trials are its patches, in the order of `values`.

    Raises:
      ValueError: no axis, no trial, another number of values than trials, or one that is not finite.

    >>> figure = parallel_coordinates({"$N_z$": [5, 20]}, [0.7, 0.9], title="Trials", label="ROC AUC")
    >>> len(figure.axes[0].patches)
    2
    """
    columns = {name: np.asarray(column, float) for name, column in axes.items()}
    ends = np.asarray(values, float)
    lengths = {name: len(column) for name, column in columns.items()}
    if not columns or not len(ends) or set(lengths.values()) != {len(ends)}:
        raise ValueError(
            f"got {lengths} values on the axes and {len(ends)} results; expected as many, and at least one"
        )
    if not all(np.isfinite(column).all() for column in (*columns.values(), ends)):
        raise ValueError("got a value that is not finite; leave out the trials that failed")

    figure = Figure(figsize=(PAGE_WIDTH, 3.6), dpi=DPI, layout="constrained")
    plot = figure.subplots()
    plot.set_title(title, fontsize=12.0, pad=22.0)
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


@matplotlib.style.context(STYLE)
def auc_spread(
    x: Sequence[int | float], auc: Mapping[str, Sequence[Sequence[int | float]]], *, title: str, x_label: str
) -> Figure:
    """ROC AUC of each score against a size, with its spread over seeds (Fig. 9 of the paper, top).

    Lines go through the means over seeds, bands from the lowest to the highest seed, and a small dot is a seed. The x
    axis is logarithmic. The dashed line at 0.5 is chance.

    Args:
      x: the sizes, above zero, ascending.
      auc: for each score (`"nelbo"`, `"d"`, `"a"`, `"m"` or any name) and each size the AUC of every seed.
      title: title of the figure.
      x_label: e.g. `"dimension number $N_z$ of the latent space"`.

    Returns:
      A figure with one axes.

    Raises:
      ValueError: no size, no score, a size without seeds, or another number of sizes.

    >>> figure = auc_spread([5, 20], {"m": [[0.8, 0.82], [0.9]]}, title="VAE", x_label="$N_z$")
    >>> figure.axes[0].get_lines()[1].get_ydata().tolist()
    [0.81, 0.9]
    """
    lengths = {name: [len(seeds) for seeds in sizes] for name, sizes in auc.items()}
    sizes = np.asarray(x, float)
    if (
        not len(sizes)
        or not lengths
        or any(len(counts) != len(sizes) or 0 in counts for counts in lengths.values())
        or sizes[0] <= 0
        or (np.diff(sizes) <= 0).any()
    ):
        raise ValueError(
            f"got x = {list(x)} and {lengths} seeds; expected ascending sizes above zero and, for at least one score, "
            "a list of seeds for each"
        )
    figure = Figure(figsize=(5.6, 3.2), dpi=DPI, layout="constrained")
    plot = figure.subplots()
    plot.set_title(title, fontsize=12.0)
    plot.set_xscale("log")
    plot.axhline(0.5, color=QUIET, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    for index, (name, by_size) in enumerate(auc.items()):
        look = SCORES.get(name, Look(name, COLORS[index % len(COLORS)], "-", "o"))
        mean = np.array([np.mean(seeds) for seeds in by_size])
        low, high = np.array([(min(seeds), max(seeds)) for seeds in by_size]).T
        plot.fill_between(sizes, low, high, color=look.color, alpha=0.16, linewidth=0)
        plot.plot(
            *(sizes, mean),
            label=look.label,
            color=look.color,
            linestyle=look.line,
            marker=look.marker,
            markersize=4.0,
            zorder=3,
        )
        seeds_x = np.repeat(sizes, [len(seeds) for seeds in by_size])
        plot.scatter(seeds_x, np.concatenate(by_size), s=5, color=look.color, linewidth=0, alpha=0.7, zorder=2)
    if len(sizes) <= _MOST_TICKS:
        plot.xaxis.set_major_locator(FixedLocator(sizes.tolist()))
        plot.xaxis.set_minor_locator(NullLocator())
    plot.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:g}"))
    plot.set_xlim(sizes[0] / 1.25, sizes[-1] * 1.25)
    floor = min(0.5, *(min(seeds) for by_size in auc.values() for seeds in by_size))
    plot.set_ylim(floor - 0.03, 1.02)
    plot.set_xlabel(x_label)
    plot.set_ylabel("ROC AUC")
    plot.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=2.8)
    return figure


def _draw_scale(plot: Axes, at: int, name: str, column: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Draw a vertical axis at `at`; returns the height of each trial on it, 0 to 1."""
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
    plot.plot([at, at], [0, 1], color="#222222", linewidth=0.8, zorder=4)
    for tick, text in zip(ticks, labels, strict=True):
        plot.plot([at - 0.025, at], [tick, tick], color="#222222", linewidth=0.8, zorder=4)
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
