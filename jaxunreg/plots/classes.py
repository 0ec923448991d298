"""How much of each score the class explains."""

from collections.abc import Mapping
from typing import Any

import matplotlib.style
from matplotlib.figure import Figure

from jaxunreg.errors import ArgumentError
from jaxunreg.plots.style import DPI, PAGE_WIDTH, QUIET, SCORES, STYLE, TITLE_SIZE, Look, percent
from jaxunreg.signatures import checked


@checked
@matplotlib.style.context(STYLE)
def explained_by_class_bars(
    values: Mapping[str, Mapping[str, float]], *, title: str, class_name: str = "digit"
) -> Figure:
    """Draw how much of the variance of the normal samples' scores the class explains, for each model and score.

    A short bar belongs to a score that does not follow the complexity of the samples.

    Args:
      values: for each model and score (`"nelbo"`, `"d"`, `"a"`, `"m"`, or any other name) a share in [0, 1], from
        `jaxunreg.metrics.explained_by_class`.
      title: title of the figure.
      class_name: the word for a class.

    Returns:
      A figure with one axes; a group of bars for each model, with the percentage above each bar.

    Raises:
      ArgumentError: no model, a model without scores, or a share outside [0, 1].

    >>> figure = explained_by_class_bars({"VAE": {"nelbo": 0.25, "m": 0.02}}, title="Variance explained")
    >>> [float(bar.get_height()) for bar in figure.axes[0].patches]
    [25.0, 2.0]
    """
    if not values or not all(values.values()):
        raise ArgumentError(
            f"{dict(values)}", "at least one model, each with at least one score", "leave out models without scores"
        )
    for model, shares in values.items():
        for name, share in shares.items():
            if not 0.0 <= share <= 1.0:
                raise ArgumentError(
                    f"a share of {share} for {model!r}, {name!r}",
                    "a number in [0, 1]",
                    "compute it with jaxunreg.metrics.explained_by_class",
                )
    bars = sum(map(len, values.values()))
    figure = Figure(figsize=(min(PAGE_WIDTH, 1.6 + 0.42 * (bars + len(values))), 3.0), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=TITLE_SIZE)
    labelled: dict[str, Any] = {}
    left, centres = 0.0, []
    for shares in values.values():
        for name, share in shares.items():
            look = SCORES.get(name, Look(name, QUIET, "-", ""))
            (bar,) = axes.bar(left, 100 * share, width=0.86, color=look.color, label=look.label)
            above: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 9}
            axes.annotate(percent(share), (left, 100 * share), (0, 2), **above)
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
