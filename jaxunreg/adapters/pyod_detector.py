"""A detector with the interface of PyOD, which need not be installed."""

from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from jaxunreg.adapters.learning import Learned, check_contamination, given_samples, learn, threshold_of_share
from jaxunreg.inspection.config import DetectorConfig


class PyODDetector(BaseEstimator):
    """M, the unregularized score, with the methods and attributes that PyOD's detectors have.

    One Gaussian is fitted to a table `[n, features]`; see `fit_row_gaussian`. `fit_detector` learns from images
    `[n, height, width, channels]`. Scores are higher for more anomalous samples.

    The threshold is PyOD's: a share `contamination` of the samples of the fit exceeds it. With `false_positive_rate` it
    rests on held-out samples instead, and of new normal samples at most that share exceeds it.

    The other methods of `pyod.models.base.BaseDetector`, such as confidences, come from mixing it in:
    `class Detector(PyODDetector, BaseDetector): ...`.

    Args:
      contamination: share of anomalies among the samples of the fit, in (0, 0.5].
      false_positive_rate: wanted share of normal samples above the threshold; None for a threshold by contamination.
      calibration_fraction: share of the samples to hold out if there is a false-positive rate, in (0, 1). Images are
        always held out.
      random_state: an integer, the seed of the choice of held-out samples.
      config: how images are learned, a `DetectorConfig`; the three arguments before replace its own.

    Attributes:
      decision_scores_: float64 `[n]`, the scores of the samples of the fit, in nats.
      threshold_: the score above which a sample is anomalous.
      labels_: int64 `[n]`, 1 for each sample of the fit above the threshold, else 0.
      learned_: the Gaussian, or the detector of images.

    >>> rows = np.random.default_rng(0).normal(size=(200, 3))
    >>> detector = PyODDetector(contamination=0.05).fit(rows)
    >>> detector.predict([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]).tolist(), int(detector.labels_.sum())
    ([0, 1], 10)
    """

    def __init__(
        self,
        contamination: float = 0.1,
        *,
        false_positive_rate: float | None = None,
        calibration_fraction: float = 0.25,
        random_state: int = 0,
        config: DetectorConfig | None = None,
    ) -> None:
        self.contamination = contamination
        self.false_positive_rate = false_positive_rate
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state
        self.config = config

    def fit(self, X: Any, y: Any = None) -> "PyODDetector":
        """Learn from samples, and find the threshold.

        Args:
          X: `[n, features]`, numbers; or images `[n, height, width, channels]`, uint8 or floating point in [0, 1].
          y: ignored.

        Returns:
          The detector.

        Raises:
          ArgumentError: there are too few samples for the false-positive rate, or a parameter is out of its range.
          TypeError, ValueError: the errors of `sklearn.utils.check_array`; for images those of `fit_detector`.
        """
        check_contamination(self.contamination)
        samples = given_samples(self, X, reset=True)
        self.learned_: Learned = learn(
            samples,
            self.false_positive_rate,
            fraction=self.calibration_fraction,
            seed=self.random_state,
            config=self.config,
        )
        self.decision_scores_ = self.learned_.scores(samples)
        if self.false_positive_rate is None:
            self.threshold_ = threshold_of_share(self.decision_scores_, self.contamination)
        else:
            assert self.learned_.calibration is not None  # for mypy: samples were held out
            self.threshold_ = self.learned_.calibration.threshold(self.false_positive_rate)
        self.labels_ = (self.decision_scores_ > self.threshold_).astype(np.int64)
        # Attributes that BaseDetector's own methods read if it is mixed in.
        self._mu, self._sigma = float(self.decision_scores_.mean()), float(self.decision_scores_.std())
        self._classes = 2
        return self

    def decision_function(self, X: Any) -> Float64[np.ndarray, " n"]:
        """Return M of each sample, in nats; higher is more anomalous.

        Args:
          X: like the samples of the fit.

        Raises:
          sklearn.exceptions.NotFittedError: before `fit`.
          TypeError, ValueError: the errors of `fit` for samples.
        """
        check_is_fitted(self)
        return self.learned_.scores(given_samples(self, X))

    def predict(self, X: Any) -> Int64[np.ndarray, " n"]:
        """Return 1 for each sample above the threshold, else 0.

        Args:
          X: like the samples of the fit.

        Raises:
          sklearn.exceptions.NotFittedError, TypeError, ValueError: the errors of `decision_function`.
        """
        return (self.decision_function(X) > self.threshold_).astype(np.int64)

    def fit_predict(self, X: Any, y: Any = None) -> Int64[np.ndarray, " n"]:
        """Fit, and return `labels_`."""
        return self.fit(X, y).labels_

    def predict_proba(self, X: Any) -> Float64[np.ndarray, "n 2"]:
        """Return PyOD's linear scale: 0 for the lowest score of the fit and 1 for the highest, in the second column.

        These are not probabilities. `learned_.calibration.p_values` gives p-values if samples were held out.

        Args:
          X: like the samples of the fit.

        Raises:
          sklearn.exceptions.NotFittedError, TypeError, ValueError: the errors of `decision_function`.
        """
        scores = self.decision_function(X)
        low, high = self.decision_scores_.min(), self.decision_scores_.max()
        share = np.clip((scores - low) / max(high - low, np.finfo(np.float64).tiny), 0.0, 1.0)
        return np.stack([1.0 - share, share], axis=1)
