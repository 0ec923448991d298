"""ROC curves."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxunreg.errors import ArgumentError
from jaxunreg.metrics.ranking import roc_curve
from jaxunreg.plots.style import CHANCE_LINE, COLORS, DASHES, DPI, SCORES, STYLE, TITLE_SIZE, Look
from jaxunreg.signatures import checked

NormalAndAnomalous: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Scores of the normal and of the anomalous samples, each `[N]`, higher = more anomalous."""


@checked
@matplotlib.style.context(STYLE)
def roc_comparison(curves: Mapping[str, NormalAndAnomalous], *, title: str) -> Figure:
    """Draw the ROC curves of several models in one square (Fig. 10 of the paper), each AUC in parentheses.

    Args:
      curves: one to six labels, each with the scores of the normal and of the anomalous samples, higher = more
        anomalous. The first is drawn thick.
      title: title of the figure.

    Returns:
      A figure with one axes.

    Raises:
      ArgumentError: no curve, more than six, or scores that are empty or not finite.

    >>> import numpy as np
    >>> figure = roc_comparison({"VAE M": (np.zeros(3), np.ones(3))}, title="Test")
    >>> figure.axes[0].get_legend_handles_labels()[1]
    ['VAE M (1.000)']
    """
    if not 1 <= len(curves) <= len(COLORS):
        raise ArgumentError(f"{len(curves)} curves", f"1 to {len(COLORS)}", "split them over several figures")
    for name, pair in curves.items():
        check_scores(name, pair)
    figure = Figure(figsize=(4.8, 4.9), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=TITLE_SIZE, parse_math=False)
    looks = [Look("", color, line, "") for color, line in zip(COLORS, DASHES, strict=True)]
    draw_roc(axes, curves, looks[: len(curves)], thick=0)
    return figure


def draw_roc(
    axes: Axes, curves: Mapping[str, NormalAndAnomalous], looks: Iterable[Look], thick: int | None = None
) -> None:
    """Draw ROC curves with their AUC in a legend.

    Args:
      axes: the axes to draw into.
      curves: labels, each with the scores of the normal and of the anomalous samples.
      looks: the look of each curve.
      thick: index of the curve that is drawn thick. The curve of M always is.
    """
    axes.plot([0, 1], [0, 1], **CHANCE_LINE)
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


def check_scores(name: str, pair: NormalAndAnomalous) -> None:
    """Raise `ArgumentError` if scores are empty or not finite."""
    for kind, values in zip(("normal", "anomalous"), pair, strict=True):
        values = np.asarray(values)
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            raise ArgumentError(
                f"{kind} scores {name!r} of shape {list(values.shape)} with "
                f"{int(np.count_nonzero(~np.isfinite(values)))} not finite",
                "[N], finite, N > 0",
                "leave out samples that could not be scored",
            )
