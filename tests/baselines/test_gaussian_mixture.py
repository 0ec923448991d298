"""The Gaussian mixture against scikit-learn, scipy and planted facts."""

import json
import os
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import scipy.linalg
import scipy.spatial.distance
import scipy.stats
import sklearn.decomposition
import sklearn.ensemble
import sklearn.exceptions
import sklearn.mixture
import sklearn.svm

from jaxunreg.baselines import (
    GaussianMixture,
    GaussianMixtureConfig,
    NotFittedError,
)
from jaxunreg.datasets.digits.erasing import EraseConfig, erase
from jaxunreg.metrics.ranking import roc_auc
from tests.baselines.planted_images import PIXELS, SHAPE, correlated_images, rows


@pytest.fixture(scope="module")
def reference(train: np.ndarray) -> sklearn.mixture.GaussianMixture:
    """scikit-learn on the pixels as they are, without our centring."""
    return sklearn.mixture.GaussianMixture(2, tol=1e-6, max_iter=500, random_state=0).fit(rows(train))


@pytest.mark.usefixtures("x64")
def test_mixture_scores_as_scikit_learn(
    mixture: GaussianMixture, reference: sklearn.mixture.GaussianMixture, test: np.ndarray
) -> None:
    component = reference.predict(rows(test))
    posterior = reference.predict_proba(rows(test))[np.arange(len(test)), component]
    assert set(component) == {0, 1}
    scores = mixture.scores(test)
    assert set(scores) == {"nelbo", "d", "a", "m"}
    # Float32 pixels on one side and float64 on the other: 6e-8 of a grey level, against a sigma of 2 / 255.
    np.testing.assert_allclose(scores["nelbo"], -reference.score_samples(rows(test)) - np.log(posterior), rtol=1e-4)
    np.testing.assert_allclose(scores["d"], -np.log(reference.weights_)[component], rtol=1e-6)
    log_determinant = np.linalg.slogdet(2 * np.pi * reference.covariances_)[1]
    np.testing.assert_allclose(scores["a"], log_determinant[component] / 2, rtol=1e-5)


def test_mixture_terms_add_up_and_are_float64(mixture: GaussianMixture, test: np.ndarray) -> None:
    terms, scores = mixture.decompose(test), mixture.scores(test)
    for name in ("d", "a", "m"):
        leaf = getattr(terms, name)
        assert (leaf.dtype, leaf.shape) == (np.float64, (len(test),))
        np.testing.assert_array_equal(scores[name], leaf)
    np.testing.assert_array_equal(scores["nelbo"], scores["d"] + scores["a"] + scores["m"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_component_is_half_the_squared_mahalanobis_distance(
    train: np.ndarray, test: np.ndarray, dtype: str
) -> None:
    baseline = GaussianMixture(GaussianMixtureConfig(n_components=1, reg_covar=1e-5, dtype=dtype)).fit(train)
    covariance = np.cov(rows(train).T, bias=True) + 1e-5 * np.eye(PIXELS)
    precision, mean = np.linalg.inv(covariance), rows(train).mean(axis=0)
    expected = [scipy.spatial.distance.mahalanobis(x, mean, precision) ** 2 / 2 for x in rows(test)]
    terms = baseline.decompose(test)
    np.testing.assert_allclose(terms.m, expected, rtol=1e-3)
    np.testing.assert_allclose(terms.a, np.linalg.slogdet(2 * np.pi * covariance)[1] / 2, rtol=1e-4)
    np.testing.assert_array_equal(terms.d, 0.0)
    # The mean of M over the images of a fit is half its number of features, less what reg_covar takes.
    kept = np.trace(precision @ np.cov(rows(train).T, bias=True)) / 2
    assert baseline.decompose(train).m.mean() == pytest.approx(kept, rel=1e-3)


def test_mixture_with_pca_is_the_density_of_the_features(train: np.ndarray, test: np.ndarray) -> None:
    config = GaussianMixtureConfig(pca_components=8, dtype="float64", tol=1e-6)
    baseline = GaussianMixture(config).fit(train)
    pca = sklearn.decomposition.PCA(8, svd_solver="full").fit(rows(train))
    reference = sklearn.mixture.GaussianMixture(2, tol=1e-6, random_state=0).fit(pca.transform(rows(train)))
    features = pca.transform(rows(test))
    component = reference.predict(features)
    posterior = reference.predict_proba(features)[np.arange(len(test)), component]
    # A density does not change when axes are turned or mirrored, so the two PCAs need not agree on signs.
    np.testing.assert_allclose(
        baseline.scores(test)["nelbo"], -reference.score_samples(features) - np.log(posterior), rtol=1e-3
    )
    np.testing.assert_allclose(
        baseline.reconstruct(test),
        pca.inverse_transform(reference.means_)[component].reshape(-1, *SHAPE),
        atol=1e-4,
    )


def test_reconstruction_is_the_mean_of_the_images_own_kind(
    mixture: GaussianMixture, train: np.ndarray, test: np.ndarray
) -> None:
    pictures = mixture.reconstruct(test)
    assert (pictures.dtype, pictures.shape) == (np.float32, test.shape)
    bright = np.arange(len(test)) % 3 == 0
    for kind, of_train in ((bright, np.arange(600) % 3 == 0), (~bright, np.arange(600) % 3 != 0)):
        expected = train[of_train].mean(axis=0) / 255
        np.testing.assert_allclose(pictures[kind], np.broadcast_to(expected, pictures[kind].shape), atol=1e-5)


def test_mixture_ranks_an_erased_square_above_its_normal_copy(mixture: GaussianMixture, test: np.ndarray) -> None:
    erased = test.copy()
    erased[:, 1:3, 1:3] = 128
    scores, anomalous = mixture.scores(test), mixture.scores(erased)
    for name in ("nelbo", "m"):
        assert roc_auc(scores[name], anomalous[name], paired=True).low > 0.99
    # A 2x2 square does not make a dark image bright: the component, and with it D and A, stays.
    for name in ("d", "a"):
        np.testing.assert_array_equal(scores[name], anomalous[name])


def test_an_image_scores_the_same_in_any_company(mixture: GaussianMixture) -> None:
    """Also across the chunks of a batch. The last chunk is filled up."""
    images = correlated_images(1100, seed=2)
    whole = mixture.scores(images)
    picked = [0, 511, 512, 1023, 1024, 1099]
    for name, score in mixture.scores(images[picked]).items():
        np.testing.assert_allclose(score, whole[name][picked], rtol=1e-5)
    for name, score in mixture.scores(images[::-1]).items():
        np.testing.assert_allclose(score[::-1], whole[name], rtol=1e-5)
    assert all(len(score) == 1100 for score in whole.values())


def test_uint8_and_float_images_are_one_thing(mixture: GaussianMixture, test: np.ndarray) -> None:
    before = test.copy()
    expected = mixture.scores(test)
    np.testing.assert_array_equal(test, before)
    for images in (test.astype(np.float32) / np.float32(255), jax.numpy.asarray(test)):
        for name, score in mixture.scores(images).items():
            # XLA multiplies by 1 / 255 where NumPy divides: one unit in the last place of a pixel.
            np.testing.assert_allclose(score, expected[name], rtol=1e-5)


def test_mixture_precision_follows_scikit_learn(train: np.ndarray, test: np.ndarray) -> None:
    """float32 where scikit-learn keeps it; the same scores to the digits it has."""
    single, again, double = (
        GaussianMixture(GaussianMixtureConfig(dtype=dtype, reg_covar=1e-5)).fit(train)
        for dtype in ("float32", "float32", "float64")
    )
    kept = sklearn.mixture.GaussianMixture(2, random_state=0).fit(rows(train).astype(np.float32))
    assert single.precisions_cholesky_.dtype == kept.precisions_cholesky_.dtype
    assert double.precisions_cholesky_.dtype == np.float64
    for name, score in single.scores(test).items():
        np.testing.assert_allclose(score, double.scores(test)[name], rtol=1e-3)
        # Threads may add in another order: two fits of 24,776 digits reached 11754.817 and 11754.812 nats.
        np.testing.assert_allclose(score, again.scores(test)[name], rtol=1e-4)


def test_diagnostics_are_json_and_tell_of_convergence(mixture: GaussianMixture, train: np.ndarray) -> None:
    good = json.loads(json.dumps(mixture.diagnostics))
    assert good["converged"] is True
    assert good["warnings"] == []
    assert 1 <= good["n_iter"] <= 500
    assert good["images_of_smallest_component"] == pytest.approx(200, abs=0.5)
    assert good["lower_bound"] == pytest.approx(-mixture.scores(train)["nelbo"].mean(), rel=1e-3)
    # Random responsibilities need many steps to part the two kinds. Warnings are errors: none may escape.
    config = GaussianMixtureConfig(init="random", max_iter=1, tol=0.0)
    stopped = GaussianMixture(config).fit(train)
    assert stopped.diagnostics["converged"] is False
    assert stopped.converged_ is False
    assert stopped.diagnostics["n_iter"] == 1
    assert "did not converge" in stopped.diagnostics["warnings"][0]
    assert np.isfinite(stopped.scores(train)["m"]).all()


def test_warnings_that_are_not_about_convergence_pass_through(
    monkeypatch: pytest.MonkeyPatch, train: np.ndarray
) -> None:
    fit = sklearn.mixture.GaussianMixture.fit

    def warning_fit(self: Any, x: np.ndarray) -> Any:
        warnings.warn("something else", UserWarning, stacklevel=1)
        return fit(self, x)

    monkeypatch.setattr(sklearn.mixture.GaussianMixture, "fit", warning_fit)
    with pytest.warns(UserWarning, match="something else"):
        baseline = GaussianMixture(GaussianMixtureConfig(n_components=1)).fit(train)
    assert baseline.diagnostics["warnings"] == []


def test_a_failed_fit_says_what_to_do_and_keeps_the_former_one(test: np.ndarray) -> None:
    baseline = GaussianMixture(GaussianMixtureConfig(n_components=1, reg_covar=0.0))
    constant = np.full((50, *SHAPE), 7, np.uint8)
    with pytest.raises(ValueError, match=r"50 images of 40 features.*reg_covar=0.0.*raise reg_covar"):
        baseline.fit(constant)
    with pytest.raises(NotFittedError):
        baseline.scores(test)
    noise = np.random.default_rng(0).integers(0, 256, (500, *SHAPE), dtype=np.uint8)
    expected = baseline.fit(noise).scores(test)["m"]
    with pytest.raises(ValueError, match="EM failed"):
        baseline.fit(constant)
    np.testing.assert_array_equal(baseline.scores(test)["m"], expected)


@pytest.mark.parametrize("method", ["scores", "decompose", "reconstruct"])
def test_mixture_methods_want_a_fit_and_its_shape(mixture: GaussianMixture, test: np.ndarray, method: str) -> None:
    with pytest.raises(NotFittedError):
        getattr(GaussianMixture(), method)(test)
    with pytest.raises(ValueError, match=r"\[90, 4, 4, 2\].*expected \[N, 4, 5, 2\]"):
        getattr(mixture, method)(test[:, :, :4])


def test_diagnostics_want_a_fit() -> None:
    with pytest.raises(NotFittedError):
        _ = GaussianMixture().diagnostics


DATA = Path(os.environ.get("JAXUNREG_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "svhn"


@pytest.mark.skipif(not DATA.is_dir(), reason="no SVHN digits here; set JAXUNREG_TEST_DATA")
def test_a_full_covariance_of_3072_real_pixels_holds_in_float32() -> None:
    """The default config on digits that scarcely outnumber the pixels, against float64."""
    with np.load(DATA / "train.npz") as archive:
        images = archive["images"][:4200]
    train, normal = images[:4000], images[4000:]
    anomalous = erase(normal, EraseConfig()).images
    baseline = GaussianMixture(GaussianMixtureConfig(n_components=1)).fit(train)
    assert baseline.converged_
    scores = baseline.scores(normal)["m"], baseline.scores(anomalous)["m"]

    mean = rows(train).mean(axis=0)
    pixels = rows(train) - mean
    covariance = pixels.T @ pixels / len(pixels) + baseline.config.reg_covar * np.eye(pixels.shape[1])
    factor = scipy.linalg.cholesky(covariance, lower=True)
    whitened = [scipy.linalg.solve_triangular(factor, (rows(x) - mean).T, lower=True) for x in (normal, anomalous)]
    expected = [np.square(w).sum(axis=0) / 2 for w in whitened]
    # Eigenvalues reach from 1e-6 to 70, so single distances lose digits; what they rank must stay.
    np.testing.assert_allclose(scores, expected, rtol=0.1)
    auc = roc_auc(*expected, paired=True)
    assert auc.low > 0.5
    assert roc_auc(*scores, paired=True).value == pytest.approx(auc.value, abs=0.005)
