"""Trials as lines: they are read back from the artists and compared with the numbers behind them."""

import numpy as np
import pytest

from jaxunreg import plots
from jaxunreg.plots import save_figure

SIZES = [4, 4, 64, 64]
RATES = [10 ** (-4 + 0.25 * k) for k in range(9)]


def heights(figure) -> np.ndarray:
    """Where each trial's line crosses each axis, `[trials, axes]`."""
    return np.array([patch.get_path().vertices[::3, 1] for patch in figure.axes[0].patches])


def test_a_line_ends_at_its_value_and_crosses_each_axis_at_its_setting():
    values = [0.5, 0.75, 1.0, 0.6]
    figure = plots.parallel_coordinates({"size": SIZES, "seed": [0, 1, 0, 1]}, values, title="t", label="AUC")
    found = heights(figure)
    np.testing.assert_allclose(found[:, -1], [0.0, 0.5, 1.0, 0.2])
    # Two values halve an axis, the larger above; equal ones stand beside each other, the better above.
    assert (found[:2, 0] < 0.5).all()
    assert (found[2:, 0] > 0.5).all()
    assert found[1, 0] > found[0, 0]
    assert found[2, 0] > found[3, 0]
    np.testing.assert_array_equal(found[:, 1] > 0.5, [False, True, False, True])


def test_an_axis_of_many_values_is_logarithmic_where_they_span_decades():
    values = np.linspace(0, 1, 9).tolist()
    found = heights(plots.parallel_coordinates({"rate": RATES}, values, title="t", label="AUC"))
    np.testing.assert_allclose(found[:, 0], np.linspace(0, 1, 9), atol=1e-12)
    linear = [-1.0, *range(8)]
    found = heights(plots.parallel_coordinates({"x": linear}, values, title="t", label="AUC"))
    np.testing.assert_allclose(found[:, 0], (np.array(linear) + 1) / 8)


def test_better_trials_are_brighter_and_drawn_later():
    figure = plots.parallel_coordinates({"size": SIZES}, [0.9, 0.5, 0.7, 0.6], title="t", label="AUC")
    patches = sorted(figure.axes[0].patches, key=lambda patch: patch.get_zorder())
    luminance = [float(np.dot(patch.get_edgecolor()[:3], (0.2126, 0.7152, 0.0722))) for patch in patches]
    assert luminance == sorted(luminance)
    assert [list(figure.axes[0].patches).index(patch) for patch in patches] == [1, 3, 2, 0]


def test_ticks_say_the_values():
    figure = plots.parallel_coordinates({"size": SIZES}, [0.9, 0.5, 0.7, 0.6], title="t", label="AUC of M")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert {"4", "64", "size", "AUC of M"} <= set(texts)


def test_one_trial_can_be_drawn(tmp_path):
    save_figure(plots.parallel_coordinates({"size": [4]}, [0.5], title="t", label="AUC"), tmp_path / "a.png")
    save_figure(plots.auc_spread([4], {"m": [[0.5]]}, title="t", x_label="x"), tmp_path / "b.png")
    assert all((tmp_path / name).stat().st_size > 1000 for name in ("a.png", "b.png"))


@pytest.mark.parametrize(
    ("axes", "values"),
    [({}, [0.5]), ({"x": []}, []), ({"x": [1, 2]}, [0.5]), ({"x": [1]}, [float("nan")]), ({"x": [np.inf]}, [0.5])],
)
def test_what_cannot_be_drawn_is_refused(axes, values):
    with pytest.raises(ValueError, match=r"expected equally many|not finite"):
        plots.parallel_coordinates(axes, values, title="t", label="AUC")
