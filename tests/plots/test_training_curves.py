"""Training curves, read back from the artists and compared with the records behind them."""

import re

import numpy as np
import pytest
from matplotlib.axes import Axes

from jaxunreg.plots import training_curves


def records(steps: int) -> list[dict[str, object]]:
    lines: list[dict[str, object]] = []
    for step in range(1, steps + 1):
        loss = 1000.0 / step
        lines.append(
            {
                "step": step,
                "loss": loss,
                "d": 1.0 + step,
                "a": -2.0 - step,
                "m": 1.0 + loss,
                "images_per_second": 9.0,
            }
        )
    return lines


def curves(axes: Axes) -> dict[str, tuple[list[float], list[float]]]:
    return {
        line.get_label(): (np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist())
        for line in axes.lines
        if not str(line.get_label()).startswith("_")
    }


def test_training_curves_overlay_held_out_and_auc() -> None:
    lines = records(40)
    means = {"loss": 3.0, "d": 4.0, "a": 5.0, "m": -6.0}
    lines += [
        {"step": 20, "held_out": means, "auc": {"nelbo": 0.6, "m": 0.7}},
        {
            "step": 40,
            "held_out": {name: value + 1 for name, value in means.items()},
            "auc": {"nelbo": 0.65, "m": 0.9},
        },
    ]
    figure = training_curves(lines, title="VAE")
    assert len(figure.axes) == 5
    drawn = {axes.get_title(): curves(axes) for axes in figure.axes}
    assert drawn["negative ELBO"]["training"] == (
        list(range(1, 41)),
        [1000.0 / step for step in range(1, 41)],
    )
    assert drawn["negative ELBO"]["held out"] == ([20, 40], [3.0, 4.0])
    assert drawn["$M(x)$"]["held out"] == ([20, 40], [-6.0, -5.0])
    assert drawn["$D(x)$"]["training"][1] == [1.0 + step for step in range(1, 41)]
    assert drawn["ROC AUC"] == {
        r"$\mathcal{L}(x)$": ([20, 40], [0.6, 0.65]),
        "$M(x)$": ([20, 40], [0.7, 0.9]),
    }


def test_training_curves_average_long_runs_without_losing_a_record() -> None:
    lines = records(1003)
    figure = training_curves(lines, title="VAE")
    assert len(figure.axes) == 4
    (label,) = curves(figure.axes[0])
    window = int(re.search(r"means of (\d+)", label)[1])
    steps, values = curves(figure.axes[0])[label]
    assert len(steps) <= 250
    assert steps[-1] == 1003
    counts = np.diff([0, *steps])
    assert (counts[:-1] == window).all()
    # The windows cover every record once: their weighted sum is the sum over all.
    assert np.dot(counts, values) == pytest.approx(sum(line["loss"] for line in lines), rel=1e-12)


def test_a_resumed_run_counts_each_step_once_with_its_last_value() -> None:
    lines = [*records(10), {"step": 9, "loss": -1.0}, {"step": 10, "loss": -2.0}, {"step": 11, "loss": -3.0}]
    figure = training_curves(lines, title="VAE")
    steps, values = curves(figure.axes[0])["training"]
    assert steps == list(range(1, 12))
    assert values[-3:] == [-1.0, -2.0, -3.0]


def test_a_model_without_terms_has_one_panel_and_no_nats() -> None:
    lines = [{"step": step, "loss": 0.5 / step, "d": 0.0, "a": 0.0, "m": 0.5 / step} for step in range(1, 6)]
    figure = training_curves(lines, title="AE")
    assert len(figure.axes) == 1
    assert "nats" not in figure.axes[0].get_ylabel()
    # D and A are constants, whose AUC is 0.5 and says nothing, and M is the loss.
    lines[-1] |= {"auc": {"nelbo": 0.7, "d": 0.5, "a": 0.5, "m": 0.7}}
    figure = training_curves(lines, title="AE")
    assert [axes.get_title() for axes in figure.axes] == ["loss", "ROC AUC"]
    assert curves(figure.axes[1]) == {"loss": ([5], [0.7])}


def test_the_first_steps_do_not_set_the_range() -> None:
    lines = records(200)
    lines[0]["loss"] = 1e9
    low, high = training_curves(lines, title="").axes[0].get_ylim()
    assert high < 1000.0
    assert low < 5.0


def test_training_curves_need_a_loss() -> None:
    with pytest.raises(ValueError, match="got 1 records without a loss"):
        training_curves([{"step": 3, "auc": {"nelbo": 0.5}}], title="")
