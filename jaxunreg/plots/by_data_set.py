"""One figure of merit of several models on several data sets."""

from collections.abc import Collection, Mapping, Sequence

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jaxunreg.errors import ArgumentError
from jaxunreg.plots.style import DPI, INK, PAGE_WIDTH, QUIET, SCORES, STYLE
from jaxunreg.signatures import checked

_ROW = 0.2  # inches

# With more panels in a row there is no room for their ticks.
_COLUMNS = 6


@checked
@matplotlib.style.context(STYLE)
def dots_by_data_set(
    values: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    title: str,
    label: str,
    highlighted: Collection[str] = (),
) -> Figure:
    """Draw a panel for each data set with a row for each model: a dot for each trial, and a line at their mean.

    Each panel has its own range, because data sets differ more than models.

    Args:
      values: data set to model to the value of each trial. A model that is not in a data set has an empty row there.
      title: title of the figure.
      label: label of the values, under the panels.
      highlighted: models that are drawn in the colour of M.

    Returns:
      A figure with an axes for each data set.

    Raises:
      ArgumentError: no data set, no model, or a value that is not finite.

    >>> values = {"tiles": {"M": [0.97, 0.98], "PaDiM": [0.96]}, "bottles": {"M": [1.0]}}
    >>> figure = dots_by_data_set(values, title="ROC AUC", label="ROC AUC")
    >>> [axes.get_title() for axes in figure.axes]
    ['tiles', 'bottles']
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['M', 'PaDiM']
    """
    models = list(dict.fromkeys(model for of_set in values.values() for model in of_set))
    numbers = [number for of_set in values.values() for trials in of_set.values() for number in trials]
    if not numbers or not np.isfinite(numbers).all():
        raise ArgumentError(
            f"{len(values)} data sets with {len(numbers)} values, not all of them finite"
            if numbers
            else "no data set with a value",
            "at least one value, all of them finite",
            "leave out values that were not measured",
        )
    columns = min(_COLUMNS, len(values))
    rows = -(-len(values) // columns)
    height = 0.45 + rows * (0.6 + _ROW * len(models))
    figure = Figure(figsize=(PAGE_WIDTH, height), dpi=DPI, layout="constrained")
    figure.suptitle(title, parse_math=False)
    figure.supxlabel(label, fontsize=10)
    grid = figure.subplots(rows, columns, squeeze=False)
    panels = grid.ravel().tolist()
    for unused in panels[len(values) :]:
        unused.remove()
    for index, (axes, (name, of_set)) in enumerate(zip(panels, values.items(), strict=False)):
        axes.set_title(name, fontsize=9.5, parse_math=False)
        for row, model in enumerate(models):
            trials = of_set.get(model, ())
            if len(trials):
                color = SCORES["m"].color if model in highlighted else INK
                axes.scatter(trials, [row] * len(trials), s=9, color=color, alpha=0.55, linewidths=0)
                axes.plot([np.mean(trials)] * 2, [row - 0.34, row + 0.34], color=color, linewidth=1.6)
        first = index % columns == 0
        axes.set_yticks(range(len(models)), models if first else [""] * len(models), parse_math=False)
        axes.tick_params(axis="y", length=0, labelsize=8.5)
        axes.tick_params(axis="x", labelsize=8)
        axes.grid(axis="y", color=QUIET, linewidth=0.3)
        axes.set_ylim(len(models) - 0.5, -0.5)
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(2, min_n_ticks=2))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:.4g}"))
    return figure
