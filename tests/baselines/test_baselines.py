"""The baselines against scikit-learn, scipy and planted facts."""

import json
import os
import warnings
from collections.abc import Iterator
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
    Baseline,
    GaussianMixture,
    GaussianMixtureConfig,
    IsolationForest,
    IsolationForestConfig,
    NotFittedError,
    OneClassSVM,
    OneClassSVMConfig,
    PCAResidual,
    PCAResidualConfig,
)
from jaxunreg.datasets.digits.erasing import EraseConfig, erase
from jaxunreg.metrics.ranking import roc_auc
from jaxunreg.scoring.patch_stream import map_patches
from jaxunreg.scoring.patches import patch_grid
from jaxunreg.training.crops import random_crops

SHAPE = (4, 5, 2)
PIXELS = 40


def correlated_images(n: int, seed: int) -> np.ndarray:
    """Two kinds of uint8 images, dark and bright, whose pixels lie near a plane of six dimensions each."""
    rng = np.random.default_rng(seed)
    bright = np.arange(n) % 3 == 0
    planes = np.random.default_rng(100).normal(size=(2, 6, PIXELS))
    levels = np.where(bright, 170.0, 80.0)[:, None]
    pixels = np.einsum("nj,njp->np", rng.normal(size=(n, 6)), planes[bright.astype(int)])
    return (
        np.clip(np.round(levels + 8 * pixels + 2 * rng.normal(size=(n, PIXELS))), 0, 255)
        .astype(np.uint8)
        .reshape(n, *SHAPE)
    )


def rows(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision, so that a disagreement is an error and not rounding."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture(scope="module")
def train() -> np.ndarray:
    return correlated_images(600, seed=0)


@pytest.fixture(scope="module")
def test() -> np.ndarray:
    return correlated_images(90, seed=1)


@pytest.fixture(scope="module")
def mixture(train: np.ndarray) -> GaussianMixture:
    return GaussianMixture(GaussianMixtureConfig(dtype="float64", tol=1e-6, max_iter=500)).fit(train)


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
    detector = GaussianMixture(GaussianMixtureConfig(n_components=1, reg_covar=1e-5, dtype=dtype)).fit(train)
    covariance = np.cov(rows(train).T, bias=True) + 1e-5 * np.eye(PIXELS)
    precision, mean = np.linalg.inv(covariance), rows(train).mean(axis=0)
    expected = [scipy.spatial.distance.mahalanobis(x, mean, precision) ** 2 / 2 for x in rows(test)]
    terms = detector.decompose(test)
    np.testing.assert_allclose(terms.m, expected, rtol=1e-3)
    np.testing.assert_allclose(terms.a, np.linalg.slogdet(2 * np.pi * covariance)[1] / 2, rtol=1e-4)
    np.testing.assert_array_equal(terms.d, 0.0)
    # The mean of M over the images of a fit is half its number of features, less what reg_covar takes.
    kept = np.trace(precision @ np.cov(rows(train).T, bias=True)) / 2
    assert detector.decompose(train).m.mean() == pytest.approx(kept, rel=1e-3)


def test_mixture_with_pca_is_the_density_of_the_features(train: np.ndarray, test: np.ndarray) -> None:
    config = GaussianMixtureConfig(pca_components=8, dtype="float64", tol=1e-6)
    detector = GaussianMixture(config).fit(train)
    pca = sklearn.decomposition.PCA(8, svd_solver="full").fit(rows(train))
    reference = sklearn.mixture.GaussianMixture(2, tol=1e-6, random_state=0).fit(pca.transform(rows(train)))
    features = pca.transform(rows(test))
    component = reference.predict(features)
    posterior = reference.predict_proba(features)[np.arange(len(test)), component]
    # A density does not change when axes are turned or mirrored, so the two PCAs need not agree on signs.
    np.testing.assert_allclose(
        detector.scores(test)["nelbo"], -reference.score_samples(features) - np.log(posterior), rtol=1e-3
    )
    np.testing.assert_allclose(
        detector.reconstruct(test),
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
    """Also across the chunks that a batch is scored in, of which the last is filled up."""
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
        detector = GaussianMixture(GaussianMixtureConfig(n_components=1)).fit(train)
    assert detector.diagnostics["warnings"] == []


def test_a_failed_fit_says_what_to_do_and_keeps_the_former_one(test: np.ndarray) -> None:
    detector = GaussianMixture(GaussianMixtureConfig(n_components=1, reg_covar=0.0))
    constant = np.full((50, *SHAPE), 7, np.uint8)
    with pytest.raises(ValueError, match=r"50 images of 40 features.*reg_covar=0.0.*raise reg_covar"):
        detector.fit(constant)
    with pytest.raises(NotFittedError):
        detector.scores(test)
    noise = np.random.default_rng(0).integers(0, 256, (500, *SHAPE), dtype=np.uint8)
    expected = detector.fit(noise).scores(test)["m"]
    with pytest.raises(ValueError, match="EM failed"):
        detector.fit(constant)
    np.testing.assert_array_equal(detector.scores(test)["m"], expected)


def test_forest_scores_are_scikit_learns_negated(train: np.ndarray, test: np.ndarray) -> None:
    config = IsolationForestConfig(n_trees=30, samples_per_tree=64, contamination=0.05, seed=3)
    detector = IsolationForest(config).fit(train)
    reference = sklearn.ensemble.IsolationForest(
        n_estimators=30, max_samples=64, contamination=0.05, random_state=3
    ).fit(rows(train).astype(np.float32))
    scores = detector.scores(test)
    assert list(scores) == ["score"]
    assert scores["score"].dtype == np.float64
    np.testing.assert_allclose(scores["score"], -reference.score_samples(rows(test).astype(np.float32)))
    np.testing.assert_array_equal(scores["score"] > detector.threshold_, reference.predict(rows(test)) == -1)


def test_contamination_is_the_share_above_the_threshold_and_moves_no_score(train: np.ndarray) -> None:
    scores = []
    for contamination in (0.02, 0.2, "auto"):
        config = IsolationForestConfig(n_trees=30, contamination=contamination)
        detector = IsolationForest(config).fit(train)
        scores.append(detector.scores(train)["score"])
        if contamination == "auto":
            assert detector.threshold_ == 0.5
        else:
            # scikit-learn interpolates the quantile: one image more or less of 600.
            assert abs(np.mean(scores[-1] > detector.threshold_) - contamination) <= 1 / 600
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


def test_forest_ranks_a_planted_outlier_first(train: np.ndarray, test: np.ndarray) -> None:
    planted = np.concatenate([test, np.full((1, *SHAPE), 255, np.uint8)])
    score = IsolationForest(IsolationForestConfig(n_trees=100)).fit(train).scores(planted)["score"]
    assert score.argmax() == len(test)
    assert ((score > 0) & (score <= 1)).all()


@pytest.mark.parametrize("nu", [0.05, 0.3])
def test_svm_ranks_as_the_exact_one_does(train: np.ndarray, test: np.ndarray, nu: float) -> None:
    """scikit-learn's libsvm with the whole kernel, on the same scaled pixels."""
    detector = OneClassSVM(OneClassSVMConfig(nu=nu, n_landmarks=200)).fit(train)
    assert detector.converged_
    mean, scale = rows(train).mean(axis=0), rows(train).std(axis=0)
    exact = sklearn.svm.OneClassSVM(nu=nu, gamma=1 / PIXELS).fit((rows(train) - mean) / scale)
    expected = -exact.decision_function((rows(test) - mean) / scale)
    score = detector.scores(test)["score"]
    assert scipy.stats.spearmanr(score, expected).statistic > 0.97
    # nu bounds the share outside; descent stops near the optimum: 4 sigma of 600 images.
    share = np.mean(detector.scores(train)["score"] > 0)
    assert abs(share - nu) < 4 * np.sqrt(nu * (1 - nu) / 600)


def test_svm_score_is_the_distance_that_its_parts_say(train: np.ndarray, test: np.ndarray) -> None:
    detector = OneClassSVM(OneClassSVMConfig(n_landmarks=30, gamma=0.1)).fit(train)
    landmarks = detector.kernel_map_.components_
    scaled = (rows(train) - rows(train).mean(axis=0)) / rows(train).std(axis=0)
    # Each landmark is a training image.
    distances = scipy.spatial.distance.cdist(landmarks, scaled)
    assert (distances.min(axis=1) < 1e-4).all()
    assert len(set(distances.argmin(axis=1))) == 30
    scaled = (rows(test) - rows(train).mean(axis=0)) / rows(train).std(axis=0)
    kernel = np.exp(-0.1 * scipy.spatial.distance.cdist(scaled, landmarks, "sqeuclidean"))
    among = np.exp(-0.1 * scipy.spatial.distance.cdist(landmarks, landmarks, "sqeuclidean"))
    features = kernel @ np.real(scipy.linalg.inv(scipy.linalg.sqrtm(among)))
    expected = detector.svm_.offset_ - features @ detector.svm_.coef_.ravel()
    np.testing.assert_allclose(detector.scores(test)["score"], expected, rtol=1e-3, atol=1e-5)


def test_svm_repeats_with_its_seed_and_says_when_it_stopped_early(train: np.ndarray, test: np.ndarray) -> None:
    first, again, other = (
        OneClassSVM(OneClassSVMConfig(n_landmarks=20, seed=seed)).fit(train).scores(test)["score"] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()
    # Warnings are errors: none may escape.
    assert OneClassSVM(OneClassSVMConfig(n_landmarks=20, max_iter=1)).fit(train).converged_ is False


def test_svm_of_pixels_that_never_change(train: np.ndarray, test: np.ndarray) -> None:
    """A border that is always black has no scale to divide by, and says nothing until it changes."""
    framed = [np.pad(images, ((0, 0), (1, 1), (0, 0), (0, 0))) for images in (train, test)]
    detector = OneClassSVM(OneClassSVMConfig(n_landmarks=50, gamma=1 / PIXELS)).fit(framed[0])
    bare = OneClassSVM(OneClassSVMConfig(n_landmarks=50, gamma=1 / PIXELS)).fit(train)
    np.testing.assert_allclose(detector.scores(framed[1])["score"], bare.scores(test)["score"], atol=1e-6)


def test_pca_residual_is_the_distance_from_the_plane(train: np.ndarray, test: np.ndarray) -> None:
    """Against the singular value decomposition in float64."""
    detector = PCAResidual(PCAResidualConfig(n_components=7)).fit(train)
    mean = rows(train).mean(axis=0)
    plane = np.linalg.svd(rows(train) - mean, full_matrices=False)[2][:7]
    rest = rows(test) - mean
    rest = rest - rest @ plane.T @ plane
    np.testing.assert_allclose(detector.scores(test)["score"], np.square(rest).sum(axis=1), rtol=1e-3)
    np.testing.assert_allclose(detector.reconstruct(test).reshape(90, -1), rows(test) - rest, atol=1e-5)
    assert detector.reconstruct(test).shape == test.shape
    assert detector.reconstruct(test).dtype == np.float32
    # Over the training images it is the sum of the eigenvalues left out.
    left_out = np.linalg.eigvalsh(np.cov(rows(train).T, bias=True))[:-7].sum()
    assert detector.scores(train)["score"].mean() == pytest.approx(left_out, rel=1e-3)


@pytest.mark.parametrize("solver", ["full", "covariance_eigh", "randomized"])
def test_pca_solvers_agree_where_components_stand_apart(train: np.ndarray, test: np.ndarray, solver: str) -> None:
    expected = PCAResidual(PCAResidualConfig(n_components=7)).fit(train).scores(test)["score"]
    score = PCAResidual(PCAResidualConfig(n_components=7, solver=solver)).fit(train).scores(test)["score"]
    np.testing.assert_allclose(score, expected, rtol=1e-3)


def test_pca_sees_a_change_off_the_plane_and_none_along_it(train: np.ndarray) -> None:
    detector = PCAResidual(PCAResidualConfig(n_components=7)).fit(train)
    flat = detector.reconstruct(train[:20]).astype(np.float64)
    normal = np.linalg.svd(detector.pca_.components_)[2][-1].reshape(SHAPE)
    along = detector.pca_.components_[0].reshape(SHAPE)
    base = detector.scores(flat)["score"]
    assert base.max() < 1e-9
    np.testing.assert_allclose(detector.scores(flat + 0.1 * normal)["score"], 0.01, rtol=1e-3)
    assert detector.scores(flat + 0.05 * along)["score"].max() < 1e-9


def photographs(n: int = 12, seed: int = 0, channels: int = 2) -> list[np.ndarray]:
    """Images of various sizes, none smaller than a patch of 4x5."""
    rng = np.random.default_rng(seed)
    shapes = [(4 + int(rng.integers(30)), 5 + int(rng.integers(30)), channels) for _ in range(n)]
    shapes[0] = (4, 5, channels)
    return [rng.integers(60, 130, shape, dtype=np.uint8) for shape in shapes]


def test_patches_of_larger_images_score_as_one_patch_after_another() -> None:
    images = photographs()
    fitted = PCAResidual(PCAResidualConfig(n_components=5)).fit(
        random_crops(jax.random.key(0), images, (4, 5), per_image=10)
    )
    maps = map_patches(fitted.scores, images[:5], patch=(4, 5), stride=3, patches_a_call=7)
    for image, found in zip(images[:5], maps, strict=True):
        grid = patch_grid(*image.shape[:2], patch=(4, 5), stride=3)
        crops = np.stack([image[row : row + 4, column : column + 5] for row, column in grid.corners])
        np.testing.assert_allclose(found["score"].ravel(), fitted.scores(crops)["score"], rtol=1e-4)
        assert found["score"].shape == grid.shape


DETECTORS = [
    (GaussianMixture, GaussianMixtureConfig()),
    (GaussianMixture, GaussianMixtureConfig(n_components=1, pca_components=5)),
    (IsolationForest, IsolationForestConfig(n_trees=5)),
    (OneClassSVM, OneClassSVMConfig(n_landmarks=50)),
    (PCAResidual, PCAResidualConfig(n_components=7)),
]


@pytest.mark.parametrize(("detector_class", "config"), DETECTORS, ids=["gmm", "pca + gmm", "forest", "svm", "pca"])
def test_every_detector_keeps_the_protocol(
    detector_class: Any, config: Any, train: np.ndarray, test: np.ndarray
) -> None:
    detector = detector_class(config)
    assert isinstance(detector, Baseline)
    assert detector.config is config
    with pytest.raises(NotFittedError, match="call fit") as caught:
        detector.scores(test)
    # Also for those who catch scikit-learn's.
    assert isinstance(caught.value, sklearn.exceptions.NotFittedError)
    assert detector.fit(train) is detector
    scores = detector.scores(test)
    assert set(scores) in ({"nelbo", "d", "a", "m"}, {"score"})
    for score in scores.values():
        assert (score.dtype, score.shape) == (np.float64, (len(test),))
        assert np.isfinite(score).all()
    # Higher is more anomalous: white noise is like no training image.
    noise = np.random.default_rng(4).integers(0, 256, test.shape, dtype=np.uint8)
    name = "m" if "m" in scores else "score"
    assert roc_auc(scores[name], detector.scores(noise)[name]).low > 0.6
    assert set(vars(detector_class())) == {"config"}
    assert detector_class().config == type(config)()


@pytest.mark.parametrize(("detector_class", "config"), DETECTORS[1:], ids=["pca + gmm", "forest", "svm", "pca"])
@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((300, 4, 5), np.uint8), ValueError, "batch, height, width, channels"),
        (np.zeros((0, *SHAPE), np.uint8), ValueError, "empty"),
        (np.zeros((300, *SHAPE), np.int64), TypeError, "int64"),
        (np.full((300, *SHAPE), 2.0), ValueError, r"expected \[0, 1\]"),
        (np.full((300, *SHAPE), np.nan), ValueError, "NaN"),
    ],
    ids=["rank", "empty", "dtype", "range", "NaN"],
)
def test_bad_images_are_refused(
    detector_class: Any, config: Any, images: np.ndarray, error: type[Exception], message: str, train: np.ndarray
) -> None:
    with pytest.raises(error, match=message):
        detector_class(config).fit(images)
    fitted = detector_class(config).fit(train[:300])
    with pytest.raises(error, match=message):
        fitted.scores(images)


@pytest.mark.parametrize("method", ["scores", "decompose", "reconstruct"])
def test_mixture_methods_want_a_fit_and_its_shape(mixture: GaussianMixture, test: np.ndarray, method: str) -> None:
    with pytest.raises(NotFittedError):
        getattr(GaussianMixture(), method)(test)
    with pytest.raises(ValueError, match=r"\[90, 4, 4, 2\].*expected \[N, 4, 5, 2\]"):
        getattr(mixture, method)(test[:, :, :4])


@pytest.mark.parametrize(("detector_class", "config"), DETECTORS[2:], ids=["forest", "svm", "pca"])
def test_detectors_want_the_shape_of_the_fit(detector_class: Any, config: Any, train: np.ndarray) -> None:
    detector = detector_class(config).fit(train)
    with pytest.raises(ValueError, match=r"expected \[N, 4, 5, 2\]"):
        detector.scores(train[..., :1])


def test_detectors_score_the_same_in_any_company_and_leave_images_alone(train: np.ndarray) -> None:
    """Also across the chunks that a batch is scored in; uint8 and float images are one thing."""
    images = correlated_images(1100, seed=2)
    before = images.copy()
    for detector_class, config in DETECTORS[2:]:
        detector = detector_class(config).fit(train)
        whole = detector.scores(images)["score"]
        assert whole.shape == (1100,)
        picked = [0, 511, 512, 1023, 1024, 1099]
        np.testing.assert_allclose(detector.scores(images[picked])["score"], whole[picked], rtol=1e-4, atol=1e-6)
        as_float = detector.scores(images[picked].astype(np.float64) / 255)["score"]
        np.testing.assert_allclose(as_float, whole[picked], rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(images, before)


def test_diagnostics_want_a_fit() -> None:
    with pytest.raises(NotFittedError):
        _ = GaussianMixture().diagnostics


def test_too_few_images_are_refused(train: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"got 3 image.*at least 4"):
        GaussianMixture(GaussianMixtureConfig(n_components=4)).fit(train[:3])
    with pytest.raises(ValueError, match=r"got 1 image.*at least 2"):
        GaussianMixture(GaussianMixtureConfig(n_components=1)).fit(train[:1])
    with pytest.raises(ValueError, match="pca_components=41; expected at most 40"):
        GaussianMixture(GaussianMixtureConfig(pca_components=41)).fit(train)
    with pytest.raises(ValueError, match=r"got 255 image.*samples_per_tree=256"):
        IsolationForest().fit(train[:255])
    with pytest.raises(ValueError, match=r"got 299 image.*n_landmarks=300"):
        OneClassSVM().fit(train[:299])
    with pytest.raises(ValueError, match="n_components=40; expected at most 39 for 600 images of 40 values"):
        PCAResidual(PCAResidualConfig(n_components=40)).fit(train)
    with pytest.raises(ValueError, match="n_components=9; expected at most 8 for 9 images"):
        PCAResidual(PCAResidualConfig(n_components=9)).fit(train[:9])


@pytest.mark.parametrize(
    ("config", "fields", "error"),
    [
        (GaussianMixtureConfig, {"n_components": 0}, ValueError),
        (GaussianMixtureConfig, {"n_components": 2.0}, TypeError),
        (GaussianMixtureConfig, {"pca_components": 0}, ValueError),
        (GaussianMixtureConfig, {"max_iter": 0}, ValueError),
        (GaussianMixtureConfig, {"n_init": 0}, ValueError),
        (GaussianMixtureConfig, {"seed": -1}, ValueError),
        (GaussianMixtureConfig, {"reg_covar": -1e-6}, ValueError),
        (GaussianMixtureConfig, {"tol": float("nan")}, ValueError),
        (GaussianMixtureConfig, {"init": "k_means"}, ValueError),
        (GaussianMixtureConfig, {"dtype": "float16"}, ValueError),
        (IsolationForestConfig, {"n_trees": 0}, ValueError),
        (IsolationForestConfig, {"samples_per_tree": 1}, ValueError),
        (IsolationForestConfig, {"n_trees": True}, TypeError),
        (IsolationForestConfig, {"contamination": 0.0}, ValueError),
        (IsolationForestConfig, {"contamination": 0.6}, ValueError),
        (IsolationForestConfig, {"contamination": "none"}, ValueError),
        (IsolationForestConfig, {"seed": -1}, ValueError),
        (OneClassSVMConfig, {"nu": 0.0}, ValueError),
        (OneClassSVMConfig, {"nu": 1.5}, ValueError),
        (OneClassSVMConfig, {"gamma": 0.0}, ValueError),
        (OneClassSVMConfig, {"gamma": float("inf")}, ValueError),
        (OneClassSVMConfig, {"n_landmarks": 0}, ValueError),
        (OneClassSVMConfig, {"max_iter": 0}, ValueError),
        (OneClassSVMConfig, {"tol": -1.0}, ValueError),
        (OneClassSVMConfig, {"seed": 0.5}, TypeError),
        (PCAResidualConfig, {"n_components": 0}, ValueError),
        (PCAResidualConfig, {"n_components": 2.0}, TypeError),
        (PCAResidualConfig, {"solver": "arpack"}, ValueError),
        (PCAResidualConfig, {"seed": -1}, ValueError),
    ],
)
def test_configs_that_cannot_be_built_are_refused(config: Any, fields: dict, error: type[Exception]) -> None:
    ((name, value),) = fields.items()
    with pytest.raises((error, TypeError), match=name):
        config(**fields)
    # The tests' type checker stands before the constructor; without it, our own check must hold.
    unchecked = config()
    object.__setattr__(unchecked, name, value)
    with pytest.raises(error, match=f"got {name}=.*; expected"):
        unchecked.__post_init__()


DATA = Path(os.environ.get("JAXUNREG_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "svhn"


@pytest.mark.skipif(not DATA.is_dir(), reason="no SVHN digits here; set JAXUNREG_TEST_DATA")
def test_a_full_covariance_of_3072_real_pixels_holds_in_float32() -> None:
    """The default config on digits that scarcely outnumber the pixels, against float64."""
    with np.load(DATA / "train.npz") as archive:
        images = archive["images"][:4200]
    train, normal = images[:4000], images[4000:]
    anomalous = erase(normal, EraseConfig()).images
    detector = GaussianMixture(GaussianMixtureConfig(n_components=1)).fit(train)
    assert detector.converged_
    scores = detector.scores(normal)["m"], detector.scores(anomalous)["m"]

    mean = rows(train).mean(axis=0)
    pixels = rows(train) - mean
    covariance = pixels.T @ pixels / len(pixels) + detector.config.reg_covar * np.eye(pixels.shape[1])
    factor = scipy.linalg.cholesky(covariance, lower=True)
    whitened = [scipy.linalg.solve_triangular(factor, (rows(x) - mean).T, lower=True) for x in (normal, anomalous)]
    expected = [np.square(w).sum(axis=0) / 2 for w in whitened]
    # Eigenvalues reach from 1e-6 to 70, so single distances lose digits; what they rank must stay.
    np.testing.assert_allclose(scores, expected, rtol=0.1)
    auc = roc_auc(*expected, paired=True)
    assert auc.low > 0.5
    assert roc_auc(*scores, paired=True).value == pytest.approx(auc.value, abs=0.005)
