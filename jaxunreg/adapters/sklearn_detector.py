"""An outlier estimator of scikit-learn."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted

from jaxunreg.adapters.learning import Learned, check_contamination, given_samples, learn, threshold_of_share
from jaxunreg.inspection.config import DetectorConfig


class SklearnDetector(OutlierMixin, BaseEstimator):
    """M, the unregularized score, as an outlier estimator of scikit-learn, for pipelines and searches.

    One Gaussian is fitted to a table `[n, features]`; see `fit_row_gaussian`. `fit_detector` learns from images
    `[n, height, width, channels]`. Scores have scikit-learn's sign: higher is more normal.

    The threshold rests on samples that are held out from the fit. At most a share `false_positive_rate` of new normal
    samples is called outliers, over all draws of the held-out ones. With `contamination` the threshold is
    scikit-learn's instead: this share of the samples of the fit is called outliers, without a promise for other
    samples.

    Args:
      false_positive_rate: wanted share of normal samples that are called outliers. 0.05 needs 19 held-out samples.
      contamination: share of outliers among the samples of the fit, in (0, 0.5]; None if all are assumed normal.
      calibration_fraction: share of the samples that is held out, in (0, 1).
      random_state: an integer, the seed of the choice of held-out samples.
      config: how images are learned, a `DetectorConfig`; the three arguments before replace its own.

    Attributes:
      offset_: minus the threshold, in nats. `decision_function` is `score_samples - offset_`.
      learned_: the Gaussian, or the detector of images.
      calibration_: the scores of the held-out samples, with p-values and the range of the rate; None if none were held
        out.
      n_features_in_: number of columns of the table.

    >>> rows = np.random.default_rng(0).normal(size=(200, 3))
    >>> detector = SklearnDetector(false_positive_rate=0.1).fit(rows)
    >>> detector.predict([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]).tolist()
    [1, -1]
    """

    def __init__(
        self,
        *,
        false_positive_rate: float = 0.05,
        contamination: float | None = None,
        calibration_fraction: float = 0.25,
        random_state: int = 0,
        config: DetectorConfig | None = None,
    ) -> None:
        self.false_positive_rate = false_positive_rate
        self.contamination = contamination
        self.calibration_fraction = calibration_fraction
        self.random_state = random_state
        self.config = config

    def fit(self, X: Any, y: Any = None) -> "SklearnDetector":
        """Learn from samples that are assumed normal, and find the threshold.

        Args:
          X: `[n, features]`, numbers; or images `[n, height, width, channels]`, uint8 or floating point in [0, 1].
          y: ignored.

        Returns:
          The estimator.

        Raises:
          ArgumentError: there are too few samples for the false-positive rate, or a parameter is out of its range.
          TypeError, ValueError: the errors of `sklearn.utils.check_array`; for images those of `fit_detector`.
        """
        if self.contamination is not None:
            check_contamination(self.contamination)
        samples = given_samples(self, X, reset=True)
        self.learned_: Learned = learn(
            samples,
            self.false_positive_rate if self.contamination is None else None,
            fraction=self.calibration_fraction,
            seed=self.random_state,
            config=self.config,
        )
        self.calibration_ = self.learned_.calibration
        if self.contamination is not None:
            self.offset_ = -threshold_of_share(self.learned_.scores(samples), self.contamination)
        else:
            assert self.calibration_ is not None  # for mypy: samples were held out
            self.offset_ = -self.calibration_.threshold(self.false_positive_rate)
        return self

    def score_samples(self, X: Any) -> Float64[np.ndarray, " n"]:
        """Return minus M of each sample, in nats; higher is more normal.

        Args:
          X: like the samples of the fit.

        Raises:
          sklearn.exceptions.NotFittedError: before `fit`.
          TypeError, ValueError: the errors of `fit` for samples.
        """
        check_is_fitted(self)
        return -self.learned_.scores(given_samples(self, X))

    def decision_function(self, X: Any) -> Float64[np.ndarray, " n"]:
        """Return `score_samples - offset_`, which is negative for outliers.

        Args:
          X: like the samples of the fit.

        Raises:
          sklearn.exceptions.NotFittedError, TypeError, ValueError: the errors of `score_samples`.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Int64[np.ndarray, " n"]:
        """Return 1 for each normal sample and -1 for each outlier.

        Args:
          X: like the samples of the fit.

        Raises:
          sklearn.exceptions.NotFittedError, TypeError, ValueError: the errors of `score_samples`.
        """
        is_outlier: Bool[np.ndarray, " n"] = self.decision_function(X) < 0.0
        return np.where(is_outlier, -1, 1)
