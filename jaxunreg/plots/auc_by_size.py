"""ROC AUC against a size of the model, with its interval or with its spread over seeds."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from jaxunreg.errors import ArgumentError
from jaxunreg.metrics.interval import Interval
from jaxunreg.plots.style import DPI, PLOT_WIDTH, STYLE, TITLE_SIZE, draw_chance, look_of
from jaxunreg.signatures import checked

# With more sizes, the numbers at the ticks collide.
_MOST_TICKS = 7


class SweepPanel(NamedTuple):
    """One panel of `auc_sweep`.

    Attributes:
      title: e.g. `"VAE"`.
      x_label: e.g. `"dimension number $N_z$ of the latent space"`.
      x: the values that were tried, above zero, ascending.
      auc: for each score (`"nelbo"`, `"d"`, `"a"`, `"m"` or any name) one interval for each value of `x`.
    """

    title: str
    x_label: str
    x: Sequence[int]
    auc: Mapping[str, Sequence[Interval]]


@checked
@matplotlib.style.context(STYLE)
def auc_sweep(panels: Sequence[SweepPanel], *, title: str) -> Figure:
    """ROC AUC of each score against a hyper-parameter, one panel above the other (Fig. 9 of the paper).

    The x axis is logarithmic. Bars are the intervals. The scores are drawn a little apart, so that their bars do not
    overlap. The dashed line at 0.5 is chance.

    Args:
      panels: e.g. the VAE over its latent sizes, then the GMM over its numbers of components.
      title: title of the figure.

    Returns:
      A figure with one axes a panel, on one range of AUC.

    Raises:
      ArgumentError: there is no panel, or a panel has no values or another number of intervals than values.

    >>> from jaxunreg.metrics import Interval
    >>> points = [Interval(0.6, 0.5, 0.7), Interval(0.8, 0.7, 0.9)]
    >>> panel = SweepPanel("VAE", "latent size $N_z$", [2, 5], {"nelbo": points, "m": points})
    >>> figure = auc_sweep([panel], title="ROC AUC")
    >>> figure.axes[0].get_xscale()
    'log'
    """
    if len(panels) == 0:
        raise ArgumentError("no panels", "at least one SweepPanel", "make one from the results of a sweep")
    for panel in panels:
        lengths = {name: len(points) for name, points in panel.auc.items()}
        if not len(panel.x) or not lengths or set(lengths.values()) != {len(panel.x)} or min(panel.x) <= 0:
            raise ArgumentError(
                f"panel {panel.title!r} with x = {list(panel.x)} and {lengths} intervals",
                "values above zero and, for at least one score, as many intervals as values",
                "leave out the values that were not measured",
            )
    figure = Figure(figsize=(PLOT_WIDTH, 0.55 + 2.5 * len(panels)), dpi=DPI, layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(len(panels), 1, sharey=True, squeeze=False)
    floor = min(0.5, *(point.low for panel in panels for points in panel.auc.values() for point in points))
    for panel, axes in zip(panels, grid[:, 0], strict=True):
        axes.set_title(panel.title)
        draw_chance(axes)
        x = np.asarray(panel.x, dtype=float)
        for index, (name, points) in enumerate(panel.auc.items()):
            look = look_of(name, index)
            value, low, high = np.asarray([(point.value, point.low, point.high) for point in points]).T
            beside = x * 1.02 ** (index - (len(panel.auc) - 1) / 2)
            axes.plot(
                *(beside, value),
                label=look.label,
                color=look.color,
                linestyle=look.line,
                marker=look.marker,
                markersize=3.6,
            )
            # Drawn separately: with few samples, a bootstrap interval need not contain its value.
            axes.errorbar(
                *(beside, (low + high) / 2, (high - low) / 2),
                fmt="none",
                ecolor=look.color,
                elinewidth=0.8,
                capsize=2.0,
                capthick=0.8,
            )
        _finish(axes, x, panel.x_label, floor, every_size=True)
    return figure


@checked
@matplotlib.style.context(STYLE)
def auc_spread(
    x: Sequence[int | float], auc: Mapping[str, Sequence[Sequence[int | float]]], *, title: str, x_label: str
) -> Figure:
    """ROC AUC of each score against a size, with its spread over seeds (Fig. 9 of the paper, top).

    Lines go through the means over seeds, bands reach from the lowest to the highest seed, and each small dot is a
    seed. The x axis is logarithmic. The dashed line at 0.5 is chance.

    Args:
      x: the sizes, above zero, ascending.
      auc: the AUC of every seed, for each score (`"nelbo"`, `"d"`, `"a"`, `"m"` or any name) and each size.
      title: title of the figure.
      x_label: e.g. `"dimension number $N_z$ of the latent space"`.

    Returns:
      A figure with one axes.

    Raises:
      ArgumentError: no size, no score, a size without seeds, or another number of sizes.

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
        or not np.isfinite(sizes).all()
        or sizes[0] <= 0
        or (np.diff(sizes) <= 0).any()
    ):
        raise ArgumentError(
            f"x = {list(x)} and {lengths} seeds",
            "ascending sizes above zero and, for at least one score, a list of seeds for each",
            "leave out the sizes that were not measured",
        )
    figure = Figure(figsize=(PLOT_WIDTH, 3.2), dpi=DPI, layout="constrained")
    plot = figure.subplots()
    plot.set_title(title, fontsize=TITLE_SIZE)
    draw_chance(plot)
    for index, (name, by_size) in enumerate(auc.items()):
        look = look_of(name, index)
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
    floor = min(0.5, *(min(seeds) for by_size in auc.values() for seeds in by_size))
    _finish(plot, sizes, x_label, floor, every_size=len(sizes) <= _MOST_TICKS)
    return figure


def _finish(axes: Axes, sizes: np.ndarray, x_label: str, floor: float, *, every_size: bool) -> None:
    """Set the ticks, ranges, labels and legend of a plot of AUC against a size."""
    axes.set_xscale("log")
    if every_size:
        axes.xaxis.set_major_locator(FixedLocator(sizes.tolist()))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:g}"))
    axes.set_xlim(sizes.min() / 1.25, sizes.max() * 1.25)
    axes.set_ylim(floor - 0.03, 1.02)
    axes.set_xlabel(x_label)
    axes.set_ylabel("ROC AUC")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=2.8)
