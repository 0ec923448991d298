"""The scores of many images beside the threshold."""

from collections.abc import Mapping

import matplotlib.style
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jaxunreg.errors import ArgumentError
from jaxunreg.plots.style import ANOMALOUS, DPI, INK, NORMAL, PAGE_WIDTH, STYLE
from jaxunreg.signatures import checked


@checked
@matplotlib.style.context(STYLE)
def score_strips(
    scores: Mapping[str, Float[np.ndarray, " _"]],
    *,
    threshold: float,
    title: str,
    label: str,
) -> Figure:
    """Draw the scores of each kind of image beside the threshold: one dot an image, and the median.

    Args:
      scores: scores of each kind, the normal kind first.
      threshold: the score above which an image is anomalous.
      title: title of the figure.
      label: label of the axis, with its unit.

    Returns:
      A figure with one axes.

    Raises:
      ArgumentError: there is no kind, or a kind has no finite score.

    >>> import numpy as np
    >>> kinds = {"good": np.array([1.0, 2.0]), "crack": np.array([3.0, 5.0])}
    >>> figure = score_strips(kinds, threshold=2.5, title="Scores", label="M, nats")
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['good', 'crack']
    """
    if not scores or not all(values.size and np.isfinite(values).all() for values in scores.values()):
        raise ArgumentError(
            "no kind of image, or one without a finite score", "at least one score each", "leave out empty kinds"
        )
    figure = Figure(figsize=(PAGE_WIDTH, 0.9 + 0.42 * len(scores)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, parse_math=False)
    # The same scatter in every run, so that figures have the same bytes.
    rng = np.random.default_rng(0)
    for row, values in enumerate(scores.values()):
        color = ANOMALOUS if row else NORMAL
        heights = row + rng.uniform(-0.28, 0.28, values.size)
        axes.scatter(values, heights, s=7, color=color, alpha=0.45, linewidths=0, rasterized=True)
        axes.plot([np.median(values)] * 2, [row - 0.36, row + 0.36], color=color, linewidth=1.8)
    axes.axvline(threshold, color=INK, linewidth=1.0, linestyle=(0, (5, 2)))
    axes.set_yticks(range(len(scores)), list(scores), parse_math=False)
    axes.set_ylim(len(scores) - 0.45, -0.75)
    axes.set_xlabel(label)
    everything = np.concatenate(list(scores.values()))
    if everything.min() > 0 and everything.max() > 30 * everything.min():
        axes.set_xscale("log")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:,.6g}"))
    share = axes.transAxes.inverted().transform(axes.transData.transform((threshold, 0)))[0]
    # On the side where there is room for it.
    away, side = (3, "left") if share < 0.85 else (-3, "right")
    axes.annotate("threshold", (threshold, 1), (away, -2), xycoords=("data", "axes fraction"), ha=side,
                  textcoords="offset points", va="top", fontsize=9)  # fmt: skip
    return figure
