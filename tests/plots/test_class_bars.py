"""The class's share of the variance, read back from the bars."""

import numpy as np
import pytest

from jaxunreg import plots


def test_bars_are_the_shares_in_percent() -> None:
    values = {"VAE": {"nelbo": 0.251, "d": 0.08, "a": 0.3, "m": 0.012}, "Isolation Forest": {"score": 0.5}}
    figure = plots.explained_by_class_bars(values, title="Share")
    axes = figure.axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(heights, [25.1, 8.0, 30.0, 1.2, 50.0])
    assert [text.get_text() for text in axes.texts] == ["25", "8.0", "30", "1.2", "50"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["VAE", "Isolation Forest"]
    # A model's name stands in the middle below its own bars.
    middle = [bar.get_x() + bar.get_width() / 2 for bar in axes.patches]
    np.testing.assert_allclose(axes.get_xticks(), [np.mean(middle[:4]), middle[4]])
    for wrong in ({}, {"VAE": {}}, {"VAE": {"nelbo": 1.1}}, {"VAE": {"nelbo": float("nan")}}):
        with pytest.raises(ValueError, match="expected"):
            plots.explained_by_class_bars(wrong, title="")
