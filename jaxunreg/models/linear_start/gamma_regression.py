"""Gamma regression with a logarithmic link."""

import numpy as np

_NEWTON_STEPS, _RIDGE = 20, 1e-3


def gamma_regression(rows: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights and the intercept of `log E[target]` for each column of the targets."""
    # Imported here because it takes a second.
    from sklearn.linear_model import GammaRegressor
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(rows)
    # A channel that never varies says nothing. Rounding must not make it count.
    scale = np.where(scaler.var_ > 1e-10, scaler.scale_, np.inf)
    design = (rows - scaler.mean_) / scale
    weights, intercepts = [], []
    for target in np.maximum(targets, 1e-12).astype(np.float64).T:
        # In units of the mean, because there the solver starts from the constant model.
        found = GammaRegressor(alpha=_RIDGE, solver="newton-cholesky", max_iter=_NEWTON_STEPS).fit(
            design, target / target.mean()
        )
        weights.append(found.coef_ / scale)
        intercepts.append(found.intercept_ + np.log(target.mean()) - weights[-1] @ scaler.mean_)
    return np.stack(weights, axis=1).astype(np.float32), np.array(intercepts, np.float32)
