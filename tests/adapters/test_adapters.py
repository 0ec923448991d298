"""The adapters against the contracts of scikit-learn and PyOD, and against the detector that they wrap."""

import pickle
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sklearn.base
import sklearn.exceptions
from sklearn.utils.estimator_checks import check_estimator

import jaxunreg as ju
from jaxunreg.adapters import PyODDetector, SklearnDetector

BOTH = pytest.mark.parametrize("kind", [SklearnDetector, PyODDetector])


def rows(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 3)) * [1.0, 5.0, 0.1]


# No check of scikit-learn is expected to fail. Some fit ten rows, from which no threshold for the default rate of 5 %
# can be had, so the rate is 50 % there. The two that may be skipped ask for pandas and for another array library.
@pytest.mark.parametrize("estimator", [SklearnDetector(false_positive_rate=0.5), PyODDetector()])
def test_scikit_learns_checks_pass(estimator, no_type_checks):
    results: Any = check_estimator(estimator, on_fail=None, on_skip=None)
    assert {result["check_name"] for result in results if result["status"] == "skipped"} <= {
        "check_array_api_input",
        "check_classifier_data_not_an_array",
    }
    assert [(r["check_name"], r["exception"]) for r in results if r["status"] not in ("passed", "skipped")] == []
    assert len(results) > 30


def test_the_threshold_keeps_its_rate_on_new_rows():
    detector = SklearnDetector(false_positive_rate=0.1).fit(rows(400))
    assert detector.calibration_.count == 100
    share = (detector.predict(rows(50_000, seed=1)) == -1).mean()
    # Of 100 held-out rows, 10 ranks lie above the threshold, so the rate is distributed as Beta(10, 91).
    low, high = scipy.stats.beta(10, 91).ppf([1e-5, 1.0 - 1e-5])
    assert low < share < high
    assert detector.offset_ == -detector.calibration_.threshold(0.1)


def test_a_contamination_is_the_share_of_the_rows_of_the_fit():
    table = rows(200)
    ours = SklearnDetector(contamination=0.1).fit(table)
    assert (ours.predict(table) == -1).sum() == 20
    assert ours.calibration_ is None
    theirs = PyODDetector(contamination=0.1).fit(table)
    assert theirs.labels_.sum() == 20
    np.testing.assert_array_equal(theirs.labels_, theirs.predict(table))
    assert ours.offset_ == -theirs.threshold_
    # The signs: scikit-learn's is higher for normal samples, PyOD's for anomalous ones.
    new = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    np.testing.assert_array_equal(ours.score_samples(new), -theirs.decision_function(new))
    assert theirs.decision_function(new)[1] > 40.0
    probabilities = theirs.predict_proba(table)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert probabilities[:, 1].argmax() == theirs.decision_scores_.argmax()


def test_the_same_rate_gives_both_the_same_threshold():
    table = rows(200)
    ours = SklearnDetector(false_positive_rate=0.1).fit(table)
    theirs = PyODDetector(false_positive_rate=0.1).fit(table)
    assert ours.offset_ == -theirs.threshold_
    np.testing.assert_array_equal(ours.predict(table) == -1, theirs.labels_ == 1)
    assert SklearnDetector(false_positive_rate=0.1, random_state=1).fit(table).offset_ != ours.offset_


@BOTH
def test_images_are_those_of_fit_detector(kind):
    images = np.random.default_rng(0).integers(0, 256, (16, 12, 12, 1), np.uint8)
    config = ju.DetectorConfig(
        space="pixels",
        patch=8,
        depth=2,
        base_channels=4,
        latent_dim=3,
        stride=4,
        train=ju.TrainConfig(steps=2, batch_size=8),
    )
    settings: dict[str, Any] = {"false_positive_rate": 0.2, "calibration_fraction": 0.5, "random_state": 3}
    found = kind(config=config, **settings).fit(images)
    detector = found.learned_.detector
    assert (detector.false_positive_rate, detector.calibration.count) == (0.2, 8)
    assert detector.record["config"]["seed"] == 3
    verdicts = list(detector.scores(images[:5]))
    sign = -1.0 if kind is SklearnDetector else 1.0
    scores = found.score_samples(images[:5]) if kind is SklearnDetector else found.decision_function(images[:5])
    np.testing.assert_array_equal(sign * scores, [verdict.score for verdict in verdicts])
    flagged = found.predict(images[:5]) == (-1 if kind is SklearnDetector else 1)
    np.testing.assert_array_equal(flagged, [verdict.is_anomalous for verdict in verdicts])
    with pytest.raises(ValueError, match=r"got images of shape \[2, 12, 12, 3\]; expected \[N, N, N, 1\]"):
        found.predict(np.zeros((2, 12, 12, 3), np.uint8))


@BOTH
def test_what_cannot_be_used_is_named(kind, no_type_checks):
    too_few = (
        r"got 50 rows, of which calibration_fraction=0\.25 holds out 12; expected at least 19 held-out rows for "
        r"false_positive_rate=0\.05, and 2 to learn from; give at least 76 rows, or raise false_positive_rate"
    )
    with pytest.raises(ValueError, match=too_few):
        kind(false_positive_rate=0.05).fit(rows(50))
    for arguments, error, message in (
        ({"contamination": 0.7}, ValueError, r"contamination=0\.7; expected a number above 0 and at most 0\.5"),
        ({"contamination": "auto"}, TypeError, "got contamination of type str; expected a number"),
        ({"calibration_fraction": 1.0}, ValueError, r"calibration_fraction=1\.0; expected a number between 0 and 1"),
        ({"random_state": None}, TypeError, "random_state"),
        ({"random_state": -1}, ValueError, "random_state=-1; expected at least 0"),
        ({"false_positive_rate": 1.5}, ValueError, r"false_positive_rate=1\.5; expected a number between 0 and 1"),
    ):
        with pytest.raises(error, match=message):
            kind(**arguments).fit(rows(50))
    with pytest.raises(TypeError, match="got config of type dict; expected a DetectorConfig"):
        kind(config={}).fit(np.zeros((2, 12, 12, 1), np.uint8))
    with pytest.raises(sklearn.exceptions.NotFittedError):
        kind().predict(rows(2))
    fitted = kind(contamination=0.1).fit(rows(50))
    with pytest.raises(ValueError, match=r"got images of shape \[2, 12, 12, 1\]; expected rows of 3 columns"):
        fitted.predict(np.zeros((2, 12, 12, 1), np.uint8))
    with pytest.raises(ValueError, match="3 features"):
        fitted.predict(rows(2)[:, :2])


@BOTH
def test_a_pickled_detector_says_the_same(kind):
    fitted = kind(contamination=0.1).fit(rows(50))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(rows(50)), fitted.predict(rows(50)))
    assert not hasattr(sklearn.base.clone(fitted), "learned_")


def test_pyods_own_base_class_agrees():
    base = pytest.importorskip("pyod.models.base", reason="PyOD is not installed").BaseDetector
    mixed: Any = type("Mixed", (PyODDetector, base), {})
    table, new = rows(200), rows(50, seed=1) * 2.0
    ours, theirs = PyODDetector().fit(table), mixed().fit(table)
    base._process_decision_scores(theirs)  # PyOD's own threshold and labels, from the scores of the fit
    assert theirs.threshold_ == ours.threshold_
    np.testing.assert_array_equal(theirs.labels_, ours.labels_)
    np.testing.assert_array_equal(base.predict(theirs, new), ours.predict(new))
    np.testing.assert_allclose(base.predict_proba(theirs, new), ours.predict_proba(new), atol=1e-12)
    assert theirs.predict_confidence(new).shape == (50,)
