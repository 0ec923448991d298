"""The Isolation Forest against scikit-learn and a planted outlier."""

import numpy as np
import sklearn.decomposition
import sklearn.ensemble
import sklearn.exceptions
import sklearn.mixture
import sklearn.svm

from jaxunreg.baselines import (
    IsolationForest,
    IsolationForestConfig,
)
from tests.baselines.planted_images import SHAPE, rows


def test_forest_scores_are_scikit_learns_negated(train: np.ndarray, test: np.ndarray) -> None:
    config = IsolationForestConfig(n_trees=30, samples_per_tree=64, contamination=0.05, seed=3)
    baseline = IsolationForest(config).fit(train)
    reference = sklearn.ensemble.IsolationForest(
        n_estimators=30, max_samples=64, contamination=0.05, random_state=3
    ).fit(rows(train).astype(np.float32))
    scores = baseline.scores(test)
    assert list(scores) == ["score"]
    assert scores["score"].dtype == np.float64
    np.testing.assert_allclose(scores["score"], -reference.score_samples(rows(test).astype(np.float32)))
    np.testing.assert_array_equal(scores["score"] > baseline.threshold_, reference.predict(rows(test)) == -1)


def test_contamination_is_the_share_above_the_threshold_and_moves_no_score(train: np.ndarray) -> None:
    scores = []
    for contamination in (0.02, 0.2, "auto"):
        config = IsolationForestConfig(n_trees=30, contamination=contamination)
        baseline = IsolationForest(config).fit(train)
        scores.append(baseline.scores(train)["score"])
        if contamination == "auto":
            assert baseline.threshold_ == 0.5
        else:
            # scikit-learn interpolates the quantile: one image more or less of 600.
            assert abs(np.mean(scores[-1] > baseline.threshold_) - contamination) <= 1 / 600
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


def test_forest_ranks_a_planted_outlier_first(train: np.ndarray, test: np.ndarray) -> None:
    planted = np.concatenate([test, np.full((1, *SHAPE), 255, np.uint8)])
    score = IsolationForest(IsolationForestConfig(n_trees=100)).fit(train).scores(planted)["score"]
    assert score.argmax() == len(test)
    assert ((score > 0) & (score <= 1)).all()
