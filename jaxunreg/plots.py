"""The figures of a study, as `matplotlib.figure.Figure`s; no global state is changed and no window opened."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import matplotlib.style
import numpy as np
from jaxtyping import Array, Num
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from jaxunreg.decomposition import half_squared_distance, log_normalizer
from jaxunreg.files import replacing
from jaxunreg.images import to_float
from jaxunreg.metrics import BoxStatistics, Interval, box_statistics, explained_by_class, roc_curve

NormalAndAnomalous: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Scores of the normal and of the anomalous samples, each `[N]`, higher = more anomalous."""

AnyImages: TypeAlias = Num[Array | np.ndarray, "_ _ _ _"]
"""Images `[n, height, width, channels]`; the functions check which lengths of two arguments must agree."""

NORMAL = "#0077BB"
"""Blue of the normal samples (Tol's vibrant palette, safe for every kind of colour blindness)."""

ANOMALOUS = "#CC3311"
"""Red of the anomalous samples."""

_INK = "#222222"
_QUIET = "#8A8A8A"
_PAGE_WIDTH = 7.2  # inches; 1080 pixels at 150 dpi
_DPI = 150


class _Look(NamedTuple):
    label: str
    color: str
    line: Any
    marker: str


# Neither the blue nor the red of the samples; told apart by dashes and markers where colour is not seen.
_SCORES = {
    "l": _Look(r"$\mathcal{L}(x)$", "#222222", (0, (5, 1.5)), "s"),
    "d": _Look("$D(x)$", "#009988", (0, (1, 1.2)), "v"),
    "a": _Look("$A(x)$", "#EE7733", (0, (5, 1.2, 1, 1.2)), "D"),
    "m": _Look("$M(x)$", "#882288", "-", "o"),
}
_DASHES: Sequence[Any] = (
    "-",
    (0, (5, 1.5)),
    (0, (5, 1.2, 1, 1.2)),
    (0, (1, 1.2)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)
_COLORS = ("#882288", "#222222", "#EE7733", "#009988", "#33BBEE", "#AA8800")

STYLE: Sequence[Any] = (
    # The machine's matplotlibrc must not change a figure.
    "default",
    {
        "axes.axisbelow": True,
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
        "axes.labelpad": 3.0,
        "axes.labelsize": 10.0,
        "axes.linewidth": 0.6,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlepad": 5.0,
        "axes.titlesize": 10.5,
        "figure.dpi": _DPI,
        "figure.titlesize": 12.0,
        # Fonts that come with matplotlib, so that a figure has the same bytes on every machine.
        "font.family": ["STIXGeneral", "DejaVu Sans"],
        "font.size": 10.0,
        "legend.borderaxespad": 0.4,
        "legend.fontsize": 9.5,
        "legend.frameon": False,
        "legend.handlelength": 2.2,
        "lines.linewidth": 1.2,
        "mathtext.fontset": "stix",
        "text.color": _INK,
        "xtick.color": _INK,
        "xtick.direction": "out",
        "xtick.labelsize": 9.0,
        "xtick.major.size": 2.5,
        "xtick.major.width": 0.6,
        "ytick.color": _INK,
        "ytick.direction": "out",
        "ytick.labelsize": 9.0,
        "ytick.major.size": 2.5,
        "ytick.major.width": 0.6,
    },
)


class SweepPanel(NamedTuple):
    """One panel of `auc_sweep`.

    Attributes:
      title: e.g. `"VAE"`.
      x_label: e.g. `"dimension number $N_z$ of the latent space"`.
      x: the values that were tried, above zero, ascending.
      auc: for each score (`"l"`, `"d"`, `"a"`, `"m"` or any name) one interval for each value of `x`.
    """

    title: str
    x_label: str
    x: Sequence[int]
    auc: Mapping[str, Sequence[Interval]]


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
    room = (_PAGE_WIDTH - 2 * side - between) / 2 * _DPI
    zoom = max(1, round(room / mosaic_width))
    panel_width, panel_height = mosaic_width * zoom / _DPI, mosaic_height * zoom / _DPI
    figure = Figure(figsize=(2 * (side + panel_width) + between, above + panel_height + below), dpi=_DPI)
    figure.suptitle(title, y=1 - 0.1 / figure.get_figheight(), va="top")

    lefts = (side, side + panel_width + between)
    for (name, images), left, color in zip(panels.items(), lefts, (NORMAL, ANOMALOUS), strict=True):
        axes = _axes_in_inches(figure, left, below, panel_width, panel_height)
        axes.set_title(name, color=color)
        _show(axes, _mosaic(images[: rows * columns], rows, columns, gap))
    if boxes is not None:
        for index, (top, box_left) in enumerate(np.asarray(boxes)[: rows * columns].tolist()):
            row, column = divmod(index, columns)
            _outline(axes, top + row * (height + gap), box_left + column * (width + gap), box_size)
    return figure


@matplotlib.style.context(STYLE)
def decomposition_figure(
    scores: Mapping[str, NormalAndAnomalous],
    labels: np.ndarray,
    *,
    title: str,
    class_name: str = "digit",
    share_y: bool = True,
) -> Figure:
    """ROC curves, and box plots of L, D, A and M by class (Fig. 5 and 6 of the paper).

    Upper left the ROC curves with the AUC in parentheses, upper right L, below D, A and M. Each score is
    shown less its median over all normal samples. A box spans the quartiles, its whiskers the 5th and 95th
    percentile. In the corner of each panel stands how much of the variance of the normal samples' score the
    class explains.

    Args:
      scores: `"l"`, `"d"`, `"a"` and `"m"`, each with the scores `[N]` of the normal and of the anomalous
        samples, in nats, in the order of `labels`.
      labels: class of each sample, `[N]`, integers.
      title: title of the figure.
      class_name: what a class is called.
      share_y: one range for all four box plots, from the lowest to the highest whisker, so that the eye sees
        which term dominates L; otherwise each panel has its own.

    Returns:
      A figure with five axes: ROC, L, D, A, M.

    Raises:
      ValueError: a score is missing, of another length than the labels, empty, or not finite.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> scores = {name: (rng.normal(size=40), rng.normal(size=40) + 1) for name in "ldam"}
    >>> figure = decomposition_figure(scores, np.arange(40) % 4, title="VAE")
    >>> len(figure.axes)
    5
    """
    missing = [name for name in _SCORES if name not in scores]
    if missing:
        raise ValueError(f"got scores {sorted(scores)}; expected 'l', 'd', 'a' and 'm': {missing} missing")
    labels = np.asarray(labels)
    for name in _SCORES:
        _check_scores(name, scores[name])
        if any(np.shape(values) != labels.shape for values in scores[name]):
            raise ValueError(
                f"got labels of shape {list(labels.shape)} and scores {name!r} of shapes "
                f"{[list(np.shape(values)) for values in scores[name]]}; expected one label for each sample"
            )

    figure = Figure(figsize=(_PAGE_WIDTH, 5.2), dpi=_DPI, layout="constrained")
    figure.suptitle(title)
    # Rows that are laid out each by itself: the labels of L's axis need no room between D and A.
    upper, lower = figure.subfigures(2, 1, squeeze=False)[:, 0]
    places = upper.subplot_mosaic([["roc", "l", "l"]]) | lower.subplot_mosaic([["d", "a", "m"]])
    _draw_roc(places["roc"], {_SCORES[name].label: scores[name] for name in _SCORES}, _SCORES.values())

    classes = np.unique(labels)
    low, high = np.inf, -np.inf
    for name in _SCORES:
        axes, (normal, anomalous) = places[name], scores[name]
        centre = float(np.median(normal))
        axes.axhline(0.0, color=_QUIET, linewidth=0.5, zorder=0)
        whiskers: list[float] = []
        for values, color, shift in ((normal, NORMAL, -0.19), (anomalous, ANOMALOUS, 0.19)):
            boxes = box_statistics(np.asarray(values), labels, center=centre)
            whiskers += [float(boxes.low.min()), float(boxes.high.max())]
            _draw_boxes(axes, boxes, shift, color)
        axes.set_title(f"{_SCORES[name].label} less its median")
        axes.set_xticks(np.arange(len(classes)), [str(one) for one in classes])
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.6, len(classes) - 0.4)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        share = explained_by_class(np.asarray(normal), labels)
        axes.text(
            *(0.985, 0.985),
            f"{class_name}: {_percent(share)} % of variance",
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=9,
            color=NORMAL,
        )
        low, high = min(low, *whiskers), max(high, *whiskers)
        axes.set_ylim(*_padded(min(whiskers), max(whiskers)))
    if share_y:
        for name in _SCORES:
            places[name].set_ylim(*_padded(low, high))
        for name in ("a", "m"):
            places[name].tick_params(axis="y", labelleft=False)
    for name in "dam":
        places[name].set_xlabel(class_name)
    for name in "ld":
        places[name].set_ylabel("nats")
    places["l"].legend(
        handles=[
            Patch(facecolor=to_rgba(color, 0.4), edgecolor=color, label=label)
            for color, label in ((NORMAL, "normal"), (ANOMALOUS, "anomalous"))
        ],
        loc="upper left",
        ncols=2,
        handlelength=0.9,
        columnspacing=1.2,
        borderaxespad=0.1,
    )
    return figure


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
    if not 1 <= len(curves) <= len(_COLORS):
        raise ValueError(f"got {len(curves)} curves; expected 1 to {len(_COLORS)}; split them over several figures")
    for name, pair in curves.items():
        _check_scores(name, pair)
    figure = Figure(figsize=(4.8, 4.9), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=12.0, parse_math=False)
    looks = [_Look("", color, line, "") for color, line in zip(_COLORS, _DASHES, strict=True)]
    _draw_roc(axes, curves, looks[: len(curves)], thick=0)
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
    >>> panel = SweepPanel("VAE", "latent size $N_z$", [2, 5], {"l": points, "m": points})
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
    figure = Figure(figsize=(5.6, 0.55 + 2.5 * len(panels)), dpi=_DPI, layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(len(panels), 1, sharey=True, squeeze=False)
    floor = min(0.5, *(point.low for panel in panels for points in panel.auc.values() for point in points))
    for panel, axes in zip(panels, grid[:, 0], strict=True):
        axes.set_title(panel.title)
        axes.set_xscale("log")
        axes.axhline(0.5, color=_QUIET, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
        x = np.asarray(panel.x, dtype=float)
        for index, (name, points) in enumerate(panel.auc.items()):
            look = _SCORES.get(name, _Look(name, _COLORS[index % len(_COLORS)], "-", "o"))
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
        `{"step", "auc": {"l", "d", "a", "m"}}` the ROC AUC; one line may hold several, other keys are left
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
    auc = {name: _series([_nested(record, "auc") for record in records], name) for name in _SCORES}
    if not training["loss"] and not held_out["loss"]:
        raise ValueError(f"got {len(records)} records without a loss; expected metrics.jsonl, with 'step' and 'loss'")

    points = {name: [*training[name].values(), *held_out[name].values()] for name in terms[1:]}
    shown = [name for name in points if any(points[name])]
    unseen = [name for name in points if points[name] and name not in shown]
    if len(shown) == 1:  # The loss itself, under its other name.
        unseen += shown
        shown = []
    auc = {name: series for name, series in auc.items() if series and name not in unseen}
    figure = Figure(figsize=(_PAGE_WIDTH, 3.0 + (2.1 if shown else 0.0)), dpi=_DPI, layout="constrained")
    figure.suptitle(title)
    grid = figure.add_gridspec(2 if shown else 1, 6, height_ratios=[1.25, 1.0] if shown else [1.0])
    width = 6 // max(1, len(shown))
    places = {"loss": figure.add_subplot(grid[0, : 4 if auc else 6])}
    places |= {
        name: figure.add_subplot(grid[1, index * width : (index + 1) * width]) for index, name in enumerate(shown)
    }
    for name, axes in places.items():
        look = _SCORES.get(name, _SCORES["l"])
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
        places["auc"].axhline(0.5, color=_QUIET, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
        places["auc"].set_title("ROC AUC")
        for name, series in auc.items():
            look = _SCORES[name]
            steps, values = zip(*series.items(), strict=True)
            places["auc"].plot(
                *(steps, values),
                color=look.color,
                linestyle=look.line,
                marker=look.marker,
                markersize=2.6,
                label="loss" if name == "l" and unseen and not shown else look.label,
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


@matplotlib.style.context(STYLE)
def explained_by_class_bars(
    values: Mapping[str, Mapping[str, float]], *, title: str, class_name: str = "digit"
) -> Figure:
    """How much of the variance of the normal samples' score the class explains, for each model and score.

    A score that is blind to how complex a sample is explains little: its bar is short.

    Args:
      values: model to score (`"l"`, `"d"`, `"a"`, `"m"`, or any other name) to a share in [0, 1], as
        `jaxunreg.metrics.explained_by_class` gives it.
      title: title of the figure.
      class_name: what a class is called.

    Returns:
      A figure with one axes; a group of bars for each model, with the percentage above each bar.

    Raises:
      ValueError: no model, a model without scores, or a share outside [0, 1].

    >>> figure = explained_by_class_bars({"VAE": {"l": 0.25, "m": 0.02}}, title="Variance explained")
    >>> [float(bar.get_height()) for bar in figure.axes[0].patches]
    [25.0, 2.0]
    """
    if not values or not all(values.values()):
        raise ValueError(f"got {dict(values)}; expected at least one model, each with at least one score")
    for model, shares in values.items():
        for name, share in shares.items():
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"got a share of {share} for {model!r}, {name!r}; expected a number in [0, 1]")
    bars = sum(map(len, values.values()))
    figure = Figure(figsize=(min(_PAGE_WIDTH, 1.6 + 0.42 * (bars + len(values))), 3.0), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=12.0)
    labelled: dict[str, Any] = {}
    left, centres = 0.0, []
    for shares in values.values():
        for name, share in shares.items():
            look = _SCORES.get(name, _Look(name, _QUIET, "-", ""))
            (bar,) = axes.bar(left, 100 * share, width=0.86, color=look.color, label=look.label)
            above: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 9}
            axes.annotate(_percent(share), (left, 100 * share), (0, 2), **above)
            labelled.setdefault(look.label, bar)
            left += 1.0
        centres.append(left - (len(shares) + 1) / 2)
        left += 0.9
    axes.set_xticks(centres, list(values))
    axes.tick_params(axis="x", length=0, labelsize=10)
    axes.set_ylim(0, 1.12 * max(1.0, 100 * max(share for shares in values.values() for share in shares.values())))
    axes.set_ylabel(f"variance explained by the {class_name} (%)")
    axes.legend(labelled.values(), labelled.keys(), loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=0.9)
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
    zoom = max(1, round(((_PAGE_WIDTH - 2 * side - 5 * gap) / 6) * _DPI / width))
    cell_width, cell_height = width * zoom / _DPI, height * zoom / _DPI
    total = above + len(images) * (cell_height + gap) + bar_room
    figure = Figure(figsize=(2 * side + 6 * cell_width + 5 * gap, total), dpi=_DPI)
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
            axes = _axes_in_inches(figure, side + column * (cell_width + gap), bottom, cell_width, cell_height)
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
        axes = _axes_in_inches(figure, left + 0.08, bar_room - 0.2, cell_width - 0.16, 0.07)
        axes.set_axis_on()
        bar = figure.colorbar(image, cax=axes, orientation="horizontal")
        bar.outline.set_linewidth(0.4)
        bar.locator = MaxNLocator(3)
        bar.update_ticks()
        axes.tick_params(labelsize=8, length=2, width=0.5, pad=1.5)
    return figure


@matplotlib.style.context(STYLE)
def save_figure(figure: Figure, path: str | Path, *, dpi: int = _DPI) -> None:
    """Write a figure as PNG: whole or not at all, and the same bytes for the same figure.

    Args:
      figure: a figure of this module, or any other.
      path: where to; a file that is there is replaced. Its folder must exist.
      dpi: pixels an inch. The grids of images are sharp at multiples of 150.

    Raises:
      OSError: the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_figure(Figure(figsize=(1, 1)), Path(folder, "empty.png"))
    ...     Path(folder, "empty.png").read_bytes()[1:4]
    b'PNG'
    """
    with replacing(Path(path)) as temporary:
        # Without the program's version, which would differ between two installations that draw the same.
        figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": None})


def _draw_roc(
    axes: Axes, curves: Mapping[str, NormalAndAnomalous], looks: Iterable[_Look], thick: int | None = None
) -> None:
    axes.plot([0, 1], [0, 1], color=_QUIET, linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    for index, ((name, pair), look) in enumerate(zip(curves.items(), looks, strict=True)):
        curve = roc_curve(*map(np.asarray, pair))
        area = np.trapezoid(curve.tpr, curve.fpr)
        width = 1.8 if index == thick or look is _SCORES["m"] else 1.2
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


def _draw_boxes(axes: Axes, boxes: BoxStatistics, shift: float, color: str) -> None:
    names = ("whislo", "q1", "med", "q3", "whishi")
    columns = zip(boxes.low, boxes.first_quartile, boxes.median, boxes.third_quartile, boxes.high, strict=True)
    line = {"color": color, "linewidth": 0.9}
    axes.bxp(
        [dict(zip(names, column, strict=True)) for column in columns],
        positions=(np.arange(len(boxes.labels)) + shift).tolist(),
        widths=0.3,
        patch_artist=True,
        showfliers=False,
        manage_ticks=False,
        # All of one hue, so that a box flatter than a line still shows whose it is.
        boxprops={"facecolor": to_rgba(color, 0.4), "edgecolor": color, "linewidth": 0.9},
        medianprops={"color": color, "linewidth": 1.5, "solid_capstyle": "butt"},
        whiskerprops=line,
        capprops=line,
        capwidths=0.16,
    )


def _padded(low: float, high: float) -> tuple[float, float]:
    room = (high - low) or 1.0
    # More above than below: a line of text stands there.
    return low - 0.06 * room, high + 0.14 * room


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if share < 0.0995 else f"{100 * share:.0f}"


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


def _check_scores(name: str, pair: NormalAndAnomalous) -> None:
    for kind, values in zip(("normal", "anomalous"), pair, strict=True):
        values = np.asarray(values)
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            raise ValueError(
                f"got {kind} scores {name!r} of shape {list(values.shape)} with "
                f"{int(np.count_nonzero(~np.isfinite(values)))} not finite; expected [N], finite, N > 0"
            )


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


def _axes_in_inches(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    total_width, total_height = figure.get_size_inches()
    axes = figure.add_axes((left / total_width, bottom / total_height, width / total_width, height / total_height))
    axes.set_axis_off()
    return axes
