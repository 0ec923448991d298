"""The curves of a training run."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jaxunreg.errors import ArgumentError
from jaxunreg.plots.style import DPI, FAINT, PAGE_WIDTH, SCORES, STYLE, Look, draw_chance
from jaxunreg.signatures import check_annotated, check_number, checked


@checked
@matplotlib.style.context(STYLE)
def training_curves(records: Sequence[Mapping[str, Any]], *, title: str) -> Figure:
    """Draw the training and held-out loss, its three terms, and the ROC AUC, against the step.

    All but the AUC are means per image, in nats. The range of a panel covers its curves after the first twentieth of
    the run. In that twentieth, the loss falls further than in all the rest.

    Args:
      records: lines of `metrics.jsonl`. `{"step", "loss", "d", "a", "m"}` is from training,
        `{"step", "held_out": {"loss", "d", "a", "m"}}` from held-out images, and
        `{"step", "auc": {"nelbo", "d", "a", "m"}}` is the ROC AUC. One line may hold several of them. Other keys are
        ignored. If two lines have the same step, the later one counts, because a resumed run writes the lines after its
        checkpoint again. A term that is always zero, such as D and A of an autoencoder, is not drawn, and neither is
        its AUC. If only one term is left, it equals the loss and is drawn once. More than 250 training records are
        averaged in groups of equal size.
      title: title of the figure.

    Returns:
      A figure with an axes for the loss, one for each term, and one for the AUC if there is any.

    Raises:
      ArgumentError: no record holds a loss, or a loss is not finite.
      ArgumentTypeError: a step, a loss, a term or an AUC is not a number.

    >>> lines = [{"step": step, "loss": 1 / step, "d": 0.1, "a": -3.0, "m": 2.0} for step in (1, 2, 3)]
    >>> figure = training_curves([*lines, {"step": 3, "held_out": {"loss": 0.4}}], title="Training")
    >>> len(figure.axes)
    4
    """
    terms = ("loss", "d", "a", "m")
    _check_numbers("records", records)
    training = {name: _series(records, name) for name in terms}
    held_out = {name: _series([_nested(record, "held_out") for record in records], name) for name in terms}
    auc = {name: _series([_nested(record, "auc") for record in records], name) for name in SCORES}
    if not training["loss"] and not held_out["loss"]:
        raise ArgumentError(
            f"{len(records)} records without a loss",
            "the lines of metrics.jsonl, with 'step' and 'loss'",
            "see whether the run has trained",
        )

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
        _draw_means(axes, training[name], held_out[name], look)
    places["loss"].legend(loc="best")
    places["loss"].set_ylabel("nats per image" if shown else "mean over images")
    if auc:
        places["auc"] = figure.add_subplot(grid[0, 4:], sharex=places["loss"])
        _draw_auc(places["auc"], auc, loss_alone=bool(unseen) and not shown)
    for axes in places.values():
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(_thousands))
    return figure


def _draw_means(axes: Axes, training: Mapping[int, float], held_out: Mapping[int, float], look: Look) -> None:
    averaged, window = _averaged(training)
    trained = "training" if window == 1 else f"training, means of {window}"
    for series, color, label, marker, linewidth in (
        (averaged, FAINT, trained, "", 1.0),
        (held_out, look.color, "held out", look.marker, 1.2),
    ):
        if series:
            how: dict[str, Any] = {"color": color, "marker": marker, "linewidth": linewidth}
            axes.plot(*zip(*series.items(), strict=True), label=label, markersize=2.6, **how)
    _limit_to_late(axes, [series for series in (training, held_out) if series])


def _draw_auc(axes: Axes, auc: Mapping[str, Mapping[int, float]], *, loss_alone: bool) -> None:
    """Draw the ROC AUC of each score. If no term is drawn, the negative ELBO is called the loss."""
    draw_chance(axes)
    axes.set_title("ROC AUC")
    for name, series in auc.items():
        look = SCORES[name]
        axes.plot(
            *zip(*series.items(), strict=True),
            color=look.color,
            linestyle=look.line,
            marker=look.marker,
            markersize=2.6,
            label="loss" if name == "nelbo" and loss_alone else look.label,
        )
    low = min(0.5, *(min(series.values()) for series in auc.values())) - 0.02
    high = max(0.5, *(max(series.values()) for series in auc.values())) + 0.02
    # Room for the legend above the curves: they end near their highest values.
    high += 0.35 * (high - low)
    axes.set_yticks([tick for tick in MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= tick <= 1.0])
    axes.set_ylim(low, high)
    axes.legend(loc="upper center", ncols=2, fontsize=9, columnspacing=1.0, labelspacing=0.2)


def _check_numbers(name: str, records: Sequence[Mapping[str, Any]]) -> None:
    """Refuse records with a number to draw that is not finite."""
    for place, record in enumerate(records):
        at = f"{name}[{place}]"
        for part in record.keys() & {"held_out", "auc"}:
            check_annotated(f"{at}[{part!r}]", record[part], Mapping[str, Any])
            _check_numbers(f"{at}[{part!r}]", [record[part]])
        for part in record.keys() & {"step", "loss", *SCORES}:
            check_number(f"{at}[{part!r}]", record[part])
            if not math.isfinite(record[part]):
                raise ArgumentError(
                    f"{record[part]} for {at}[{part!r}]", "a finite number", "leave out the steps that failed"
                )


def _series(records: Iterable[Mapping[str, Any]], name: str) -> dict[int, float]:
    found = {int(record["step"]): float(record[name]) for record in records if name in record and "step" in record}
    return dict(sorted(found.items()))


def _averaged(series: Mapping[int, float], most: int = 250) -> tuple[dict[int, float], int]:
    """Average groups of equally many records, each at its last step, so that at most `most` points are left."""
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
