"""The scores of each kind of image about the threshold."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from jaxunreg.plots import score_strips
from jaxunreg.plots.style import ANOMALOUS, NORMAL


def test_the_first_kind_is_the_normal_one():
    scores = {"good (2)": np.array([1.0, 2.0]), "crack (1)": np.array([3.0])}
    figure = score_strips(scores, threshold=2.5, title="Scores", label="M, nats")
    dots = figure.axes[0].collections
    assert [to_hex(dot.get_facecolor()[0]) for dot in dots] == [NORMAL.lower(), ANOMALOUS.lower()]
    assert dots[0].get_offsets()[:, 0].tolist() == [1.0, 2.0]


def test_a_kind_without_a_finite_score_is_refused():
    with pytest.raises(ValueError, match="without a finite score"):
        score_strips({"good": np.array([np.nan])}, threshold=1.0, title="", label="")
