"""What every baseline offers, as a type, and the checks that all baselines share."""

from typing import Protocol, runtime_checkable

import numpy as np
import sklearn.exceptions
from jaxtyping import Array

from jaxunreg.errors import JaxunregError
from jaxunreg.images import check_images


@runtime_checkable
class Baseline(Protocol):
    """What every baseline offers: `fit` on samples that are assumed normal, and scores that are higher for anomalies.

    `GaussianMixture`, `IsolationForest`, `OneClassSVM` and `PCAResidual` take images `[N, height, width, channels]`,
    uint8 or floating point in [0, 1]. `PaDiM` and `PatchCore` take the feature maps of a network,
    `[N, rows, columns, features]`, floating point.
    """

    def fit(self, images: np.ndarray | Array, /) -> "Baseline":
        """Learn from normal images, or their maps, and return the baseline itself."""
        ...

    def scores(self, images: np.ndarray | Array, /) -> dict[str, np.ndarray]:
        """Return anomaly scores by name, float64 `[N]`: "nelbo", "d", "a" and "m" for a density, else "score"."""
        ...


class NotFittedError(JaxunregError, sklearn.exceptions.NotFittedError):
    """A baseline is used before `fit`. This is also scikit-learn's error of that name."""


def check_fitted(baseline: Baseline) -> None:
    """Refuse a baseline before its fit.

    Raises:
      NotFittedError: it has no attribute with a trailing underscore. A fit sets them, as in scikit-learn.
    """
    if not any(name.endswith("_") for name in vars(baseline)):
        raise NotFittedError(
            f"a {type(baseline).__name__} that is not fitted", "a fitted one", "call fit with normal images first"
        )


def check_like_fit(baseline: Baseline, images: np.ndarray | Array) -> None:
    """Refuse images that differ in shape from those of the fit.

    Raises:
      NotFittedError: there was no fit.
      ArgumentError, ArgumentTypeError: the errors of `check_images`, also for images of another shape than the fit's.
    """
    check_fitted(baseline)
    check_images(images, (None, *baseline.image_shape_))  # type: ignore[attr-defined]
