"""The verdict on an image, and the scores of many beside the threshold."""

from collections.abc import Mapping

import matplotlib.style
import numpy as np
from jaxtyping import Float, Num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jaxunreg.decomposition import LETTERS
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.verdict import ImageVerdict
from jaxunreg.plots.heat_maps import heat_map_overlay
from jaxunreg.plots.style import ANOMALOUS, DPI, NORMAL, PAGE_WIDTH, STYLE


@matplotlib.style.context(STYLE)
def score_strips(
    scores: Mapping[str, Float[np.ndarray, " _"]],
    *,
    threshold: float,
    title: str,
    label: str,
) -> Figure:
    """Where the scores of each kind of image lie about the threshold: one dot an image, and the median.

    Args:
      scores: of each kind, the normal one first.
      threshold: the score above which an image is anomalous.
      title: of the figure.
      label: of the axis, with its unit.

    Returns:
      A figure with one axes.

    Raises:
      ValueError: no kind, or one without a finite score.

    >>> import numpy as np
    >>> kinds = {"good": np.array([1.0, 2.0]), "crack": np.array([3.0, 5.0])}
    >>> figure = score_strips(kinds, threshold=2.5, title="Scores", label="M, nats")
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['good', 'crack']
    """
    if not scores or not all(values.size and np.isfinite(values).all() for values in scores.values()):
        raise ValueError("got no kind of image, or one without a finite score; expected at least one score each")
    figure = Figure(figsize=(PAGE_WIDTH, 0.9 + 0.42 * len(scores)), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, parse_math=False)
    # The same scatter in every run, since figures have the same bytes.
    rng = np.random.default_rng(0)
    for row, values in enumerate(scores.values()):
        color = ANOMALOUS if row else NORMAL
        heights = row + rng.uniform(-0.28, 0.28, values.size)
        axes.scatter(values, heights, s=7, color=color, alpha=0.45, linewidths=0, rasterized=True)
        axes.plot([np.median(values)] * 2, [row - 0.36, row + 0.36], color=color, linewidth=1.8)
    axes.axvline(threshold, color="#222222", linewidth=1.0, linestyle=(0, (5, 2)))
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


def verdict_overlay(
    detector: AnomalyDetector,
    image: Num[np.ndarray, "height width channels"],
    heat: Float[np.ndarray, "height width"],
    verdict: ImageVerdict,
    *,
    title: str,
) -> Figure:
    """`heat_map_overlay` of one image with what the detector says of it.

    Args:
      detector: it gives the scale, which all its images share.
      image: see `heat_map_overlay`.
      heat: of the image, from `AnomalyDetector.heat_maps` with `smooth`.
      verdict: of the image, from `AnomalyDetector.scores`.
      title: e.g. the file's name.

    Returns:
      The figure.
    """
    letter = LETTERS[detector.term]
    return heat_map_overlay(
        image,
        heat,
        scale=detector.heat_scale,
        title=title,
        verdict=f"{'anomalous' if verdict.is_anomalous else 'normal'}: {letter} = {verdict.score:,.1f} nats, threshold "
        f"{verdict.threshold:,.1f}, p = {verdict.p_value:.3g}",
        is_anomalous=verdict.is_anomalous,
        label=f"{letter}, nats a pixel",
        note=f"{scale_note(detector)} Box: the most anomalous patch.",
        box=verdict.worst,
        mark=detector.pixel_levels[detector.term][1],
    )


def scale_note(detector: AnomalyDetector) -> str:
    """How the colours of a detector's heat maps are to be read, in two sentences."""
    return (
        f"One scale for all images, smoothed by {detector.smoothing:g} pixels. The mark in it: 1 in 1,000 pixels of "
        "held-out normal images is above it."
    )
