"""ROC curves, compared with scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from jaxunreg.plots import roc_comparison

N = 300


def test_roc_comparison_orders_and_measures() -> None:
    rng = np.random.default_rng(3)
    scores = {name: (rng.normal(0, 1, N), rng.normal(shift, 1, N)) for name, shift in (("m", 2.0), ("nelbo", 0.5))}
    figure = roc_comparison({"VAE, M": scores["m"], "VAE, L": scores["nelbo"]}, title="All")
    lines, texts = figure.axes[0].get_legend_handles_labels()
    truth = np.repeat([0, 1], N)
    expected = [roc_auc_score(truth, np.concatenate(scores[name])) for name in ("m", "nelbo")]
    assert texts == [f"VAE, M ({expected[0]:.3f})", f"VAE, L ({expected[1]:.3f})"]
    assert lines[0].get_linewidth() > lines[1].get_linewidth()
    with pytest.raises(ValueError, match="got 0 curves"):
        roc_comparison({}, title="")
    with pytest.raises(ValueError, match=r"'VAE' of shape \[0\]"):
        roc_comparison({"VAE": (np.zeros(0), np.ones(2))}, title="")
