"""What all baselines have in common: their protocol, and the images and configs that they refuse."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
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
    PaDiM,
    PaDiMConfig,
    PatchCore,
    PatchCoreConfig,
    PCAResidual,
    PCAResidualConfig,
)
from jaxunreg.metrics.ranking import roc_auc
from jaxunreg.scoring.patch_stream import map_patches
from jaxunreg.scoring.patches import patch_grid
from jaxunreg.training.crops import random_crops
from tests.baselines.planted_images import SHAPE, correlated_images


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


BASELINES = [
    (GaussianMixture, GaussianMixtureConfig()),
    (GaussianMixture, GaussianMixtureConfig(n_components=1, pca_components=5)),
    (IsolationForest, IsolationForestConfig(n_trees=5)),
    (OneClassSVM, OneClassSVMConfig(n_landmarks=50)),
    (PCAResidual, PCAResidualConfig(n_components=7)),
]
# They take maps of features: here the images themselves, in floating point.
ON_FEATURES = [
    (PaDiM, PaDiMConfig()),
    (PatchCore, PatchCoreConfig(coreset=0.1)),
]


def taken(baseline_class: Any, images: np.ndarray) -> np.ndarray:
    """uint8 images as a baseline takes them."""
    on_features = baseline_class in [on_features for on_features, _ in ON_FEATURES]
    return images.astype(np.float32) / np.float32(255) if on_features else images


@pytest.mark.parametrize(
    ("baseline_class", "config"),
    BASELINES + ON_FEATURES,
    ids=["gmm", "pca + gmm", "forest", "svm", "pca", "padim", "patchcore"],
)
def test_every_baseline_keeps_the_protocol(
    baseline_class: Any, config: Any, train: np.ndarray, test: np.ndarray
) -> None:
    train, test = taken(baseline_class, train), taken(baseline_class, test)
    baseline = baseline_class(config)
    assert isinstance(baseline, Baseline)
    assert baseline.config is config
    with pytest.raises(NotFittedError, match="call fit") as caught:
        baseline.scores(test)
    # Also for those who catch scikit-learn's.
    assert isinstance(caught.value, sklearn.exceptions.NotFittedError)
    assert baseline.fit(train) is baseline
    scores = baseline.scores(test)
    assert set(scores) in ({"nelbo", "d", "a", "m"}, {"score"})
    for score in scores.values():
        assert (score.dtype, score.shape) == (np.float64, (len(test),))
        assert np.isfinite(score).all()
    for name, score in baseline.scores(jnp.asarray(test)).items():
        np.testing.assert_array_equal(score, scores[name])
    # Higher is more anomalous: white noise is like no training image.
    noise = taken(baseline_class, np.random.default_rng(4).integers(0, 256, test.shape, dtype=np.uint8))
    name = "m" if "m" in scores else "score"
    assert roc_auc(scores[name], baseline.scores(noise)[name]).low > 0.6
    assert set(vars(baseline_class())) == {"config"}
    assert baseline_class().config == type(config)()


@pytest.mark.parametrize(("baseline_class", "config"), BASELINES[1:], ids=["pca + gmm", "forest", "svm", "pca"])
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
    baseline_class: Any, config: Any, images: np.ndarray, error: type[Exception], message: str, train: np.ndarray
) -> None:
    with pytest.raises(error, match=message):
        baseline_class(config).fit(images)
    fitted = baseline_class(config).fit(train[:300])
    with pytest.raises(error, match=message):
        fitted.scores(images)


@pytest.mark.parametrize(("baseline_class", "config"), ON_FEATURES, ids=["padim", "patchcore"])
@pytest.mark.parametrize(
    ("features", "error", "message"),
    [
        (np.zeros((300, 4, 5), np.float32), ValueError, r"of shape \[300, 4, 5\]; expected \[N, .*pass maps"),
        (np.zeros((0, *SHAPE), np.float32), ValueError, "empty"),
        (np.zeros((300, *SHAPE), np.uint8), TypeError, "uint8; expected floating point; pass the maps of"),
        (np.full((300, *SHAPE), np.nan), ValueError, "NaN or infinity, first in image 0"),
    ],
    ids=["rank", "empty", "dtype", "NaN"],
)
def test_bad_features_are_refused(
    baseline_class: Any, config: Any, features: np.ndarray, error: type[Exception], message: str, train: np.ndarray
) -> None:
    with pytest.raises(error, match=message):
        baseline_class(config).fit(features)
    fitted = baseline_class(config).fit(taken(baseline_class, train[:30]))
    with pytest.raises(error, match=message):
        fitted.scores(features)
    with pytest.raises(ValueError, match=r"shape \[1, 4, 5, 3\]; expected \[N, .*, 2\]"):
        fitted.scores(np.zeros((1, 4, 5, 3), np.float32))


@pytest.mark.parametrize(("baseline_class", "config"), BASELINES[2:], ids=["forest", "svm", "pca"])
def test_baselines_want_the_shape_of_the_fit(baseline_class: Any, config: Any, train: np.ndarray) -> None:
    baseline = baseline_class(config).fit(train)
    with pytest.raises(ValueError, match=r"expected \[N, 4, 5, 2\]"):
        baseline.scores(train[..., :1])


def test_baselines_score_the_same_in_any_company_and_leave_images_alone(train: np.ndarray) -> None:
    """Also across the chunks of a batch. uint8 and float images score the same."""
    integers = correlated_images(1100, seed=2)
    for baseline_class, config in BASELINES[2:] + ON_FEATURES:
        images = taken(baseline_class, integers)
        before = images.copy()
        baseline = baseline_class(config).fit(taken(baseline_class, train))
        whole = baseline.scores(images)["score"]
        assert whole.shape == (1100,)
        picked = [0, 511, 512, 1023, 1024, 1099]
        np.testing.assert_allclose(baseline.scores(images[picked])["score"], whole[picked], rtol=1e-4, atol=1e-6)
        as_float = baseline.scores(integers[picked].astype(np.float64) / 255)["score"]
        np.testing.assert_allclose(as_float, whole[picked], rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(images, before)


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
        (PaDiMConfig, {"n_features": 0}, ValueError),
        (PaDiMConfig, {"n_features": 1.5}, TypeError),
        (PaDiMConfig, {"regularization": 0.0}, ValueError),
        (PaDiMConfig, {"smoothing": -1.0}, ValueError),
        (PaDiMConfig, {"stride": 0}, ValueError),
        (PaDiMConfig, {"seed": -1}, ValueError),
        (PatchCoreConfig, {"coreset": 0.0}, ValueError),
        (PatchCoreConfig, {"coreset": 1.1}, ValueError),
        (PatchCoreConfig, {"projection": 0}, ValueError),
        (PatchCoreConfig, {"n_neighbors": 1}, ValueError),
        (PatchCoreConfig, {"candidates": 0}, ValueError),
        (PatchCoreConfig, {"seed": 0.5}, TypeError),
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
