"""The PCA residual against the singular value decomposition."""

import numpy as np
import pytest

from jaxunreg.baselines import (
    PCAResidual,
    PCAResidualConfig,
)
from tests.baselines.planted_images import SHAPE, rows


def test_pca_residual_is_the_distance_from_the_plane(train: np.ndarray, test: np.ndarray) -> None:
    """Against the singular value decomposition in float64."""
    baseline = PCAResidual(PCAResidualConfig(n_components=7)).fit(train)
    mean = rows(train).mean(axis=0)
    plane = np.linalg.svd(rows(train) - mean, full_matrices=False)[2][:7]
    rest = rows(test) - mean
    rest = rest - rest @ plane.T @ plane
    np.testing.assert_allclose(baseline.scores(test)["score"], np.square(rest).sum(axis=1), rtol=1e-3)
    np.testing.assert_allclose(baseline.reconstruct(test).reshape(90, -1), rows(test) - rest, atol=1e-5)
    assert baseline.reconstruct(test).shape == test.shape
    assert baseline.reconstruct(test).dtype == np.float32
    # Over the training images it is the sum of the eigenvalues left out.
    left_out = np.linalg.eigvalsh(np.cov(rows(train).T, bias=True))[:-7].sum()
    assert baseline.scores(train)["score"].mean() == pytest.approx(left_out, rel=1e-3)


@pytest.mark.parametrize("solver", ["full", "covariance_eigh", "randomized"])
def test_pca_solvers_agree_where_components_stand_apart(train: np.ndarray, test: np.ndarray, solver: str) -> None:
    expected = PCAResidual(PCAResidualConfig(n_components=7)).fit(train).scores(test)["score"]
    score = PCAResidual(PCAResidualConfig(n_components=7, solver=solver)).fit(train).scores(test)["score"]
    np.testing.assert_allclose(score, expected, rtol=1e-3)


def test_pca_sees_a_change_off_the_plane_and_none_along_it(train: np.ndarray) -> None:
    baseline = PCAResidual(PCAResidualConfig(n_components=7)).fit(train)
    flat = baseline.reconstruct(train[:20]).astype(np.float64)
    normal = np.linalg.svd(baseline.pca_.components_)[2][-1].reshape(SHAPE)
    along = baseline.pca_.components_[0].reshape(SHAPE)
    base = baseline.scores(flat)["score"]
    assert base.max() < 1e-9
    np.testing.assert_allclose(baseline.scores(flat + 0.1 * normal)["score"], 0.01, rtol=1e-3)
    assert baseline.scores(flat + 0.05 * along)["score"].max() < 1e-9
