"""One figure of merit of several models on several data sets."""

import numpy as np
import pytest

from jaxunreg.plots import dots_by_data_set
from jaxunreg.plots.style import SCORES


def test_a_dot_for_each_trial_and_a_line_at_their_mean():
    values = {"tiles": {"M": [0.5, 0.9], "PaDiM": [0.7]}, "bottles": {"PaDiM": [0.8]}}
    figure = dots_by_data_set(values, title="AUC", label="ROC AUC", highlighted=("M",))
    tiles, bottles = figure.axes
    np.testing.assert_allclose(tiles.collections[0].get_offsets(), [[0.5, 0], [0.9, 0]])
    assert tiles.get_lines()[0].get_xdata() == pytest.approx([0.7, 0.7])
    assert tiles.get_lines()[0].get_color() == SCORES["m"].color != tiles.get_lines()[1].get_color()
    # A model that was not measured keeps its row.
    np.testing.assert_allclose(bottles.collections[0].get_offsets(), [[0.8, 1]])


def test_seven_data_sets_fill_a_second_row_of_panels():
    figure = dots_by_data_set({f"set {k}": {"M": [0.5]} for k in range(7)}, title="AUC", label="ROC AUC")
    assert [axes.get_title() for axes in figure.axes] == [f"set {k}" for k in range(7)]


@pytest.mark.parametrize(
    ("values", "message"), [({}, "no data set with a value"), ({"tiles": {"M": [np.nan]}}, "1 data sets with 1 values")]
)
def test_values_that_cannot_be_drawn_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        dots_by_data_set(values, title="", label="")
