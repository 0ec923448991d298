"""Shared by both adapters: learn from a table or from images, and find the threshold."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64
from sklearn.utils.validation import validate_data

from jaxunreg.adapters.row_gaussian import RowGaussian, fit_row_gaussian
from jaxunreg.doors import check_kind
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.images import check_images
from jaxunreg.inspection.calibration import Calibration, calibrate, images_needed
from jaxunreg.inspection.config import DetectorConfig
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.fitting import fit_detector
from jaxunreg.integers import check_integer
from jaxunreg.signatures import check_number


@runtime_checkable
class Learned(Protocol):
    """What was learned from normal samples, and how far other samples are from it."""

    @property
    def calibration(self) -> Calibration | None:
        """The scores of held-out samples, or None if none were held out."""
        ...

    def scores(self, samples: np.ndarray) -> Float64[np.ndarray, " n"]:
        """M of each sample, in nats; higher is more anomalous."""
        ...


@dataclass(frozen=True, eq=False)
class LearnedTable:
    """A Gaussian of rows."""

    gaussian: RowGaussian
    calibration: Calibration | None

    def scores(self, samples: np.ndarray) -> Float64[np.ndarray, " n"]:
        """Return M of each row, in nats.

        Raises:
          ArgumentError: the samples are images, or have another number of columns.
        """
        if samples.ndim != 2:
            raise ArgumentError(
                f"images of shape {list(samples.shape)}",
                f"rows of {len(self.gaussian.mean)} columns, as those of the fit",
                "fit another detector to images",
                field="X",
            )
        return _scores(self.gaussian, samples)


@dataclass(frozen=True, eq=False)
class LearnedImages:
    """A detector of images."""

    detector: AnomalyDetector

    @property
    def calibration(self) -> Calibration:
        """The scores of the held-out images."""
        return self.detector.calibration

    def scores(self, samples: np.ndarray) -> Float64[np.ndarray, " n"]:
        """Return the score of each image, in nats a place."""
        check_images(samples, (None, None, None, self.detector.channels))
        return np.array([verdict.score for verdict in self.detector.scores(samples)], np.float64)


def given_samples(estimator: Any, samples: Any, *, reset: bool = False) -> np.ndarray:
    """Check samples: images by this package, and a table by scikit-learn.

    Args:
      estimator: the estimator that is fitted or used.
      samples: a table, or an array of images.
      reset: whether the estimator takes the number of columns from here, as in `fit`.

    Raises:
      TypeError, ValueError: the errors of `check_images` and of `sklearn.utils.validation.validate_data`.
    """
    if getattr(samples, "ndim", 2) == 4:
        check_images(samples, (None, None, None, None))
        return samples
    return validate_data(estimator, samples, dtype=np.float64, ensure_min_samples=2 if reset else 1, reset=reset)


def learn(
    samples: np.ndarray, rate: float | None, *, fraction: float, seed: int, config: DetectorConfig | None
) -> Learned:
    """Learn from samples that `given_samples` returned.

    Args:
      samples: rows of a table, or images.
      rate: the false-positive rate that the held-out samples must support. With None, no row is held out, and images
        follow the rate of the config.
      fraction: the share of the samples to hold out.
      seed: seed of the choice of these samples.
      config: how images are learned; the other arguments replace its fields of the same meaning.

    Raises:
      ArgumentError: there are too few samples for the rate, or an argument is out of its range.
      TypeError, ValueError: for images the errors of `fit_detector`.
    """
    check_number("calibration_fraction", fraction)
    if not 0.0 < fraction < 1.0:
        raise ArgumentError(argument("calibration_fraction", fraction), "a number between 0 and 1, e.g. 0.25")
    seed = check_integer("random_state", seed, at_least=0)
    if samples.ndim == 4:
        config = DetectorConfig() if config is None else config
        check_kind("config", config, DetectorConfig, "a DetectorConfig", "make it by ju.DetectorConfig()")
        rate = config.false_positive_rate if rate is None else rate
        config = dataclasses.replace(config, false_positive_rate=rate, calibration_fraction=fraction, seed=seed)
        return LearnedImages(fit_detector(list(samples), config, progress=False))
    if rate is None:
        return LearnedTable(fit_row_gaussian(samples, seed=seed), None)
    needed, count = images_needed(rate), round(fraction * len(samples))
    if count < needed or len(samples) - count < 2:
        raise ArgumentError(
            f"{len(samples)} rows, of which {argument('calibration_fraction', fraction)} holds out {count}",
            f"at least {needed} held-out rows for {argument('false_positive_rate', rate)}, and 2 to learn from",
            f"give at least {max(4, math.ceil(needed / fraction))} rows, or raise {argument('false_positive_rate')}",
            field="X",
        )
    order = np.random.default_rng(seed).permutation(len(samples))
    gaussian = fit_row_gaussian(samples[order[count:]], seed=seed)
    return LearnedTable(gaussian, calibrate(_scores(gaussian, samples[order[:count]])))


def threshold_of_share(scores: Float64[np.ndarray, " n"], contamination: float) -> float:
    """Return the score that a share of the samples of the fit exceeds, placed as in scikit-learn and PyOD.

    >>> threshold_of_share(np.arange(11.0), 0.2)
    8.0
    """
    return float(np.quantile(scores, 1.0 - contamination))


def check_contamination(contamination: float) -> None:
    """Refuse a share of anomalies that is not in (0, 0.5].

    Raises:
      ArgumentTypeError: it is not a number.
      ArgumentError: it is out of range.
    """
    check_number("contamination", contamination)
    if not 0.0 < contamination <= 0.5:
        raise ArgumentError(argument("contamination", contamination), "a number above 0 and at most 0.5, e.g. 0.1")


def _scores(gaussian: RowGaussian, samples: np.ndarray) -> np.ndarray:
    """Return M of each row, rounded to float32.

    Sums of a matrix product are rounded differently with other rows beside them. Without this, the row that the
    threshold rests on could be anomalous or not, as it is scored alone or among others.
    """
    return np.asarray(gaussian.decompose(samples).m).astype(np.float32).astype(np.float64)
