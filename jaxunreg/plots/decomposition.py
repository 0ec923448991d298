"""The figure of the negative ELBO and its terms."""

from collections.abc import Mapping

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from jaxunreg.doors import given_array
from jaxunreg.errors import ArgumentError
from jaxunreg.metrics.boxes import BoxStatistics, box_statistics
from jaxunreg.metrics.explained import explained_by_class
from jaxunreg.plots.roc import NormalAndAnomalous, check_scores, draw_roc
from jaxunreg.plots.style import ANOMALOUS, DPI, NORMAL, PAGE_WIDTH, QUIET, SCORES, STYLE, padded, percent
from jaxunreg.signatures import checked


@checked
@matplotlib.style.context(STYLE)
def decomposition_figure(
    scores: Mapping[str, NormalAndAnomalous],
    labels: np.ndarray,
    *,
    title: str,
    class_name: str = "digit",
    share_y: bool = True,
) -> Figure:
    """Draw ROC curves, and box plots of L, D, A and M by class (Fig. 5 and 6 of the paper).

    The ROC curves are at the upper left, with the AUC in parentheses, L is at the upper right, and D, A and M are
    below. The median over all normal samples is subtracted from each score. A box spans the quartiles, and its whiskers
    the 5th to the 95th percentile. The corner of each panel says how much of the variance of the normal samples' score
    the class explains.

    Args:
      scores: `"nelbo"`, `"d"`, `"a"` and `"m"`, each with the scores `[N]` of the normal and of the anomalous
        samples, in nats, in the order of `labels`.
      labels: class of each sample, `[N]`, integers.
      title: title of the figure.
      class_name: what a class is called.
      share_y: use one range for all four box plots, from the lowest to the highest whisker, to show which term
        dominates L. Otherwise each panel has its own.

    Returns:
      A figure with five axes: ROC, L, D, A, M.

    Raises:
      ArgumentError: a score is missing, of another length than the labels, empty, or not finite.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> scores = {name: (rng.normal(size=40), rng.normal(size=40) + 1) for name in ("nelbo", *"dam")}
    >>> figure = decomposition_figure(scores, np.arange(40) % 4, title="VAE")
    >>> len(figure.axes)
    5
    """
    missing = [name for name in SCORES if name not in scores]
    if missing:
        raise ArgumentError(
            f"scores {sorted(scores)}, with {missing} missing", "'nelbo', 'd', 'a' and 'm'", "compute the missing ones"
        )
    labels = given_array("labels", labels)
    for name in SCORES:
        check_scores(name, scores[name])
        if any(np.shape(values) != labels.shape for values in scores[name]):
            raise ArgumentError(
                f"labels of shape {list(labels.shape)} and scores {name!r} of shapes "
                f"{[list(np.shape(values)) for values in scores[name]]}",
                "one label for each sample",
                "score the samples that the labels belong to",
            )

    figure = Figure(figsize=(PAGE_WIDTH, 5.2), dpi=DPI, layout="constrained")
    figure.suptitle(title)
    # Each row is laid out separately, because the labels of L's axis need no room between D and A.
    upper, lower = figure.subfigures(2, 1, squeeze=False)[:, 0]
    places = upper.subplot_mosaic([["roc", "nelbo", "nelbo"]]) | lower.subplot_mosaic([["d", "a", "m"]])
    draw_roc(places["roc"], {SCORES[name].label: scores[name] for name in SCORES}, SCORES.values())

    classes = np.unique(labels)
    low, high = np.inf, -np.inf
    for name in SCORES:
        axes, (normal, anomalous) = places[name], scores[name]
        centre = float(np.median(normal))
        axes.axhline(0.0, color=QUIET, linewidth=0.5, zorder=0)
        whiskers: list[float] = []
        for values, color, shift in ((normal, NORMAL, -0.19), (anomalous, ANOMALOUS, 0.19)):
            boxes = box_statistics(np.asarray(values), labels, center=centre)
            whiskers += [float(boxes.low.min()), float(boxes.high.max())]
            _draw_boxes(axes, boxes, shift, color)
        axes.set_title(f"{SCORES[name].label} less its median")
        axes.set_xticks(np.arange(len(classes)), [str(one) for one in classes])
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.6, len(classes) - 0.4)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        share = explained_by_class(np.asarray(normal), labels)
        axes.text(
            *(0.985, 0.985),
            f"{class_name}: {percent(share)} % of variance",
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=9,
            color=NORMAL,
        )
        low, high = min(low, *whiskers), max(high, *whiskers)
        axes.set_ylim(*padded(min(whiskers), max(whiskers)))
    if share_y:
        for name in SCORES:
            places[name].set_ylim(*padded(low, high))
        for name in ("a", "m"):
            places[name].tick_params(axis="y", labelleft=False)
    for name in "dam":
        places[name].set_xlabel(class_name)
    for name in ("nelbo", "d"):
        places[name].set_ylabel("nats")
    places["nelbo"].legend(
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
        # All parts have one hue, so that a box flatter than a line still shows the kind of its samples.
        boxprops={"facecolor": to_rgba(color, 0.4), "edgecolor": color, "linewidth": 0.9},
        medianprops={"color": color, "linewidth": 1.5, "solid_capstyle": "butt"},
        whiskerprops=line,
        capprops=line,
        capwidths=0.16,
    )
