"""ROC curves, training curves, and areas over a setting."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from jaxunreg.metrics.interval import Interval
from jaxunreg.metrics.ranking import roc_curve
from jaxunreg.plots.style import COLORS, DASHES, DPI, PAGE_WIDTH, QUIET, SCORES, STYLE, Look

NormalAndAnomalous: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Scores of the normal and of the anomalous samples, each `[N]`, higher = more anomalous."""


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


@matplotlib.style.context(STYLE)
def roc_comparison(curves: Mapping[str, NormalAndAnomalous], *, title: str) -> Figure:
    """ROC curves of several models in one square (Fig. 10 of the paper), with the AUC of each in parentheses.

    Args:
      curves: label to the scores of the normal and of the anomalous samples, higher = more anomalous; one to
        six. The first is drawn thick.
      title: title of the figure.

    Returns:
      A figure with one axes.

    Raises:
      ValueError: no curve, more than six, or scores that are empty or not finite.

    >>> import numpy as np
    >>> figure = roc_comparison({"VAE M": (np.zeros(3), np.ones(3))}, title="Test")
    >>> figure.axes[0].get_legend_handles_labels()[1]
    ['VAE M (1.000)']
    """
    if not 1 <= len(curves) <= len(COLORS):
        raise ValueError(f"got {len(curves)} curves; expected 1 to {len(COLORS)}; split them over several figures")
    for name, pair in curves.items():
        check_scores(name, pair)
    figure = Figure(figsize=(4.8, 4.9), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=12.0, parse_math=False)
    looks = [Look("", color, line, "") for color, line in zip(COLORS, DASHES, strict=True)]
    draw_roc(axes, curves, looks[: len(curves)], thick=0)
    return figure


@matplotlib.style.context(STYLE)
def auc_sweep(panels: Sequence[SweepPanel], *, title: str) -> Figure:
    """ROC AUC of each score against a hyper-parameter, one panel above the other (Fig. 9 of the paper).

    The x axis is logarithmic. Bars are the intervals; the scores stand a little beside each other, so that
    their bars can be told apart. The dashed line at 0.5 is chance.

    Args:
      panels: e.g. the VAE over its latent sizes, then the GMM over its numbers of components.
      title: title of the figure.

    Returns:
      A figure with one axes a panel, on one range of AUC.

    Raises:
      ValueError: no panel, a panel without values, or with another number of intervals than values.

    >>> from jaxunreg.metrics import Interval
    >>> points = [Interval(0.6, 0.5, 0.7), Interval(0.8, 0.7, 0.9)]
    >>> panel = SweepPanel("VAE", "latent size $N_z$", [2, 5], {"nelbo": points, "m": points})
    >>> figure = auc_sweep([panel], title="ROC AUC")
    >>> figure.axes[0].get_xscale()
    'log'
    """
    if not panels:
        raise ValueError("got no panels; expected at least one SweepPanel")
    for panel in panels:
        lengths = {name: len(points) for name, points in panel.auc.items()}
        if not len(panel.x) or not lengths or set(lengths.values()) != {len(panel.x)} or min(panel.x) <= 0:
            raise ValueError(
                f"got panel {panel.title!r} with x = {list(panel.x)} and {lengths} intervals; expected "
                "values above zero and, for at least one score, as many intervals as values"
            )
    figure = Figure(figsize=(5.6, 0.55 + 2.5 * len(panels)), dpi=DPI, layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(len(panels), 1, sharey=True, squeeze=False)
    floor = min(0.5, *(point.low for panel in panels for points in panel.auc.values() for point in points))
    for panel, axes in zip(panels, grid[:, 0], strict=True):
        axes.set_title(panel.title)
        axes.set_xscale("log")
        axes.axhline(0.5, color=QUIET, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
        x = np.asarray(panel.x, dtype=float)
        for index, (name, points) in enumerate(panel.auc.items()):
            look = SCORES.get(name, Look(name, COLORS[index % len(COLORS)], "-", "o"))
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
            # Drawn by itself, since a bootstrap interval need not contain its value where samples are few.
            axes.errorbar(
                *(beside, (low + high) / 2, (high - low) / 2),
                fmt="none",
                ecolor=look.color,
                elinewidth=0.8,
                capsize=2.0,
                capthick=0.8,
            )
        axes.xaxis.set_major_locator(FixedLocator(x.tolist()))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(x.min() / 1.25, x.max() * 1.25)
        axes.set_ylim(floor - 0.03, 1.02)
        axes.set_xlabel(panel.x_label)
        axes.set_ylabel("ROC AUC")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=2.8)
    return figure


@matplotlib.style.context(STYLE)
def training_curves(records: Sequence[Mapping[str, Any]], *, title: str) -> Figure:
    """Training and held-out loss, its three terms, and the ROC AUC, against the step.

    All but the AUC are means per image, in nats. The range of a panel is that of its curves after the first
    twentieth of the run, where the loss falls by more than in all the rest.

    Args:
      records: lines of `metrics.jsonl`. `{"step", "loss", "d", "a", "m"}` are training,
        `{"step", "held_out": {"loss", "d", "a", "m"}}` held-out images and
        `{"step", "auc": {"nelbo", "d", "a", "m"}}` the ROC AUC; one line may hold several, other keys are left
        alone, and of two lines of one step the later counts (a resumed run writes again what followed its
        checkpoint). A term that is zero throughout, as an autoencoder's D and A, is not drawn and nor is its AUC; a
        loss of one term alone is drawn once. More than 250 training records are drawn as means over equally many.
      title: title of the figure.

    Returns:
      A figure with an axes for the loss, one for each term, and one for the AUC if there is any.

    Raises:
      ValueError: no record holds a loss.

    >>> lines = [{"step": step, "loss": 1 / step, "d": 0.1, "a": -3.0, "m": 2.0} for step in (1, 2, 3)]
    >>> figure = training_curves([*lines, {"step": 3, "held_out": {"loss": 0.4}}], title="Training")
    >>> len(figure.axes)
    4
    """
    terms = ("loss", "d", "a", "m")
    training = {name: _series(records, name) for name in terms}
    held_out = {name: _series([_nested(record, "held_out") for record in records], name) for name in terms}
    auc = {name: _series([_nested(record, "auc") for record in records], name) for name in SCORES}
    if not training["loss"] and not held_out["loss"]:
        raise ValueError(f"got {len(records)} records without a loss; expected metrics.jsonl, with 'step' and 'loss'")

    points = {name: [*training[name].values(), *held_out[name].values()] for name in terms[1:]}
    shown = [name for name in points if any(points[name])]
    unseen = [name for name in points if points[name] and name not in shown]
    if len(shown) == 1:  # The loss itself, under its other name.
        unseen += shown
        shown = []
    auc = {name: series for name, series in auc.items() if series and name not in unseen}
    figure = Figure(figsize=(PAGE_WIDTH, 3.0 + (2.1 if shown else 0.0)), dpi=DPI, layout="constrained")
    figure.suptitle(title)
    grid = figure.add_gridspec(2 if shown else 1, 6, height_ratios=[1.25, 1.0] if shown else [1.0])
    width = 6 // max(1, len(shown))
    places = {"loss": figure.add_subplot(grid[0, : 4 if auc else 6])}
    places |= {
        name: figure.add_subplot(grid[1, index * width : (index + 1) * width]) for index, name in enumerate(shown)
    }
    for name, axes in places.items():
        look = SCORES.get(name, SCORES["nelbo"])
        axes.set_title("negative ELBO" if name == "loss" and shown else "loss" if name == "loss" else look.label)
        averaged, window = _averaged(training[name])
        trained = "training" if window == 1 else f"training, means of {window}"
        for series, color, label, marker, linewidth in (
            (averaged, "#ABABAB", trained, "", 1.0),
            (held_out[name], look.color, "held out", look.marker, 1.2),
        ):
            if series:
                how: dict[str, Any] = {"color": color, "marker": marker, "linewidth": linewidth}
                axes.plot(*zip(*series.items(), strict=True), label=label, markersize=2.6, **how)
        _limit_to_late(axes, [series for series in (training[name], held_out[name]) if series])
    places["loss"].legend(loc="best")
    places["loss"].set_ylabel("nats per image" if shown else "mean over images")
    if auc:
        places["auc"] = figure.add_subplot(grid[0, 4:], sharex=places["loss"])
        places["auc"].axhline(0.5, color=QUIET, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
        places["auc"].set_title("ROC AUC")
        for name, series in auc.items():
            look = SCORES[name]
            steps, values = zip(*series.items(), strict=True)
            places["auc"].plot(
                *(steps, values),
                color=look.color,
                linestyle=look.line,
                marker=look.marker,
                markersize=2.6,
                label="loss" if name == "nelbo" and unseen and not shown else look.label,
            )
        low = min(0.5, *(min(series.values()) for series in auc.values())) - 0.02
        high = max(0.5, *(max(series.values()) for series in auc.values())) + 0.02
        # Room for the legend above the curves, which end near their highest.
        high += 0.35 * (high - low)
        places["auc"].set_yticks(
            [tick for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= 1.0]
        )
        places["auc"].set_ylim(low, high)
        places["auc"].legend(loc="upper center", ncols=2, fontsize=9, columnspacing=1.0, labelspacing=0.2)
    for axes in places.values():
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
    return figure


def draw_roc(
    axes: Axes, curves: Mapping[str, NormalAndAnomalous], looks: Iterable[Look], thick: int | None = None
) -> None:
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    for index, ((name, pair), look) in enumerate(zip(curves.items(), looks, strict=True)):
        curve = roc_curve(*map(np.asarray, pair))
        area = np.trapezoid(curve.tpr, curve.fpr)
        width = 1.8 if index == thick or look is SCORES["m"] else 1.2
        axes.plot(
            *(curve.fpr, curve.tpr),
            label=f"{name} ({area:.3f})",
            color=look.color,
            linestyle=look.line,
            linewidth=width,
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_box_aspect(1)
    ticks = [0, 0.25, 0.5, 0.75, 1]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    axes.legend(loc="lower right", handlelength=2.6, labelspacing=0.25)


def _series(records: Iterable[Mapping[str, Any]], name: str) -> dict[int, float]:
    found = {int(record["step"]): float(record[name]) for record in records if name in record and "step" in record}
    return dict(sorted(found.items()))


def _averaged(series: Mapping[int, float], most: int = 250) -> tuple[dict[int, float], int]:
    """Means over equally many records, each mean at its last step, so that at most `most` points are left."""
    window = -(-len(series) // most) or 1
    steps, values = list(series), list(series.values())
    parts = range(0, len(series), window)
    return {steps[min(k + window, len(steps)) - 1]: float(np.mean(values[k : k + window])) for k in parts}, window


def _nested(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return {"step": record["step"], **record[name]} if name in record and "step" in record else {}


def _limit_to_late(axes: Axes, series: Sequence[Mapping[int, float]]) -> None:
    first, last = min(min(one) for one in series), max(max(one) for one in series)
    start = first + 0.05 * (last - first)
    late = [value for one in series for step, value in one.items() if step >= start]
    low, high = min(late), max(late)
    room = 0.06 * ((high - low) or 1.0)
    axes.set_ylim(low - room, high + room)


def _thousands(step: float, _: Any) -> str:
    return f"{step / 1000:g}k" if step >= 1000 else f"{step:g}"


def check_scores(name: str, pair: NormalAndAnomalous) -> None:
    for kind, values in zip(("normal", "anomalous"), pair, strict=True):
        values = np.asarray(values)
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            raise ValueError(
                f"got {kind} scores {name!r} of shape {list(values.shape)} with "
                f"{int(np.count_nonzero(~np.isfinite(values)))} not finite; expected [N], finite, N > 0"
            )
