"""The one-class SVM against the exact one and a closed form."""

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
    OneClassSVM,
    OneClassSVMConfig,
)
from tests.baselines.planted_images import PIXELS, rows


@pytest.mark.parametrize("nu", [0.05, 0.3])
def test_svm_ranks_as_the_exact_one_does(train: np.ndarray, test: np.ndarray, nu: float) -> None:
    """scikit-learn's libsvm with the whole kernel, on the same scaled pixels."""
    baseline = OneClassSVM(OneClassSVMConfig(nu=nu, n_landmarks=200)).fit(train)
    assert baseline.converged_
    mean, scale = rows(train).mean(axis=0), rows(train).std(axis=0)
    exact = sklearn.svm.OneClassSVM(nu=nu, gamma=1 / PIXELS).fit((rows(train) - mean) / scale)
    expected = -exact.decision_function((rows(test) - mean) / scale)
    score = baseline.scores(test)["score"]
    assert scipy.stats.spearmanr(score, expected).statistic > 0.97
    # nu bounds the share outside; descent stops near the optimum: 4 sigma of 600 images.
    share = np.mean(baseline.scores(train)["score"] > 0)
    assert abs(share - nu) < 4 * np.sqrt(nu * (1 - nu) / 600)


def test_svm_score_is_the_distance_that_its_parts_say(train: np.ndarray, test: np.ndarray) -> None:
    baseline = OneClassSVM(OneClassSVMConfig(n_landmarks=30, gamma=0.1)).fit(train)
    landmarks = baseline.kernel_map_.components_
    scaled = (rows(train) - rows(train).mean(axis=0)) / rows(train).std(axis=0)
    # Each landmark is a training image.
    distances = scipy.spatial.distance.cdist(landmarks, scaled)
    assert (distances.min(axis=1) < 1e-4).all()
    assert len(set(distances.argmin(axis=1))) == 30
    scaled = (rows(test) - rows(train).mean(axis=0)) / rows(train).std(axis=0)
    kernel = np.exp(-0.1 * scipy.spatial.distance.cdist(scaled, landmarks, "sqeuclidean"))
    among = np.exp(-0.1 * scipy.spatial.distance.cdist(landmarks, landmarks, "sqeuclidean"))
    features = kernel @ np.real(scipy.linalg.inv(scipy.linalg.sqrtm(among)))
    expected = baseline.svm_.offset_ - features @ baseline.svm_.coef_.ravel()
    np.testing.assert_allclose(baseline.scores(test)["score"], expected, rtol=1e-3, atol=1e-5)


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
    baseline = OneClassSVM(OneClassSVMConfig(n_landmarks=50, gamma=1 / PIXELS)).fit(framed[0])
    bare = OneClassSVM(OneClassSVMConfig(n_landmarks=50, gamma=1 / PIXELS)).fit(train)
    np.testing.assert_allclose(baseline.scores(framed[1])["score"], bare.scores(test)["score"], atol=1e-6)
