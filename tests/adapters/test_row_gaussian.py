"""The Gaussian of a table against scipy, and the invariances that a change of units must have."""

import numpy as np
import pytest
import scipy.stats

from jaxunreg.adapters import fit_row_gaussian


def correlated(n: int, seed: int = 0) -> np.ndarray:
    """Rows of four columns. The first two are nearly equal."""
    rows = np.random.default_rng(seed).normal(size=(n, 4))
    rows[:, 1] = rows[:, 0] + 0.05 * rows[:, 1]
    return rows


def covariance_of(rows: np.ndarray, shrinkage: float) -> np.ndarray:
    scale = rows.std(axis=0, ddof=1)
    shrunk = (1.0 - shrinkage) * np.corrcoef(rows.T) + shrinkage * np.eye(rows.shape[1])
    return scale[:, None] * shrunk * scale


@pytest.mark.parametrize(("fitted", "columns"), [(300, 4), (12, 4), (12, 30)])
def test_the_terms_are_scipys_density(fitted, columns):
    mixing = np.random.default_rng(7).normal(size=(4, columns)) + np.eye(4, columns)
    rows, others = correlated(fitted) @ mixing, correlated(50, seed=1) @ mixing
    gaussian = fit_row_gaussian(rows)
    terms = gaussian.decompose(others)
    covariance = covariance_of(rows, gaussian.shrinkage)
    density = scipy.stats.multivariate_normal(rows.mean(axis=0), covariance)
    np.testing.assert_allclose(terms.nelbo, -density.logpdf(others), rtol=1e-6)
    np.testing.assert_allclose(terms.a, np.linalg.slogdet(2.0 * np.pi * covariance)[1] / 2.0, rtol=1e-6)


def test_held_out_nats_choose_the_shrinkage():
    # Correlations that are there are kept, and those of a few independent rows are taken away.
    assert fit_row_gaussian(correlated(300)).shrinkage < 0.01
    assert fit_row_gaussian(np.random.default_rng(0).normal(size=(30, 40))).shrinkage > 0.5
    gaussian = fit_row_gaussian(correlated(2000))
    expected = scipy.stats.multivariate_normal(np.zeros(4), np.cov(correlated(200_000).T)).entropy()
    # The nats of held-out rows are the entropy, up to the noise of 2,000 rows with a variance of 4 / 2 nats.
    assert min(gaussian.held_out_nats) == pytest.approx(expected, abs=5.0 * np.sqrt(2.0 / 2000.0))


def test_units_move_a_and_leave_m():
    rows, others = correlated(200), correlated(20, seed=1)
    units = np.array([1e-6, 1.0, 1e3, 1e9])
    ours, theirs = (fit_row_gaussian(table).decompose(new) for table, new in
                    ((rows, others), (rows * units + 5.0 * units, others * units + 5.0 * units)))  # fmt: skip
    np.testing.assert_allclose(theirs.m, ours.m, rtol=1e-6)
    np.testing.assert_allclose(theirs.a - ours.a, np.log(units).sum(), rtol=1e-6)


def test_a_column_that_does_not_vary_has_a_variance_of_one():
    rows = np.concatenate([correlated(100), np.full((100, 1), 0.1)], axis=1)
    gaussian = fit_row_gaussian(rows)
    changed = rows[:1].copy()
    changed[0, 4] += 3.0
    before, after = (gaussian.decompose(table) for table in (rows[:1], changed))
    np.testing.assert_allclose(after.m - before.m, 4.5, rtol=1e-6)
    np.testing.assert_allclose(before.m, fit_row_gaussian(correlated(100)).decompose(rows[:1, :4]).m, rtol=1e-9)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match=r"got 1 row\(s\); expected at least 2"):
        fit_row_gaussian(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="got rows of 3 columns; expected 4, as those of the fit"):
        fit_row_gaussian(correlated(9)).decompose(np.zeros((1, 3)))
