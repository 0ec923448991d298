"""PaDiM: a Gaussian for each place of a map of features.

References:
  Defard, T., Setkov, A., Loesch, A. and Audigier, R. PaDiM: a Patch Distribution Modeling Framework for Anomaly
    Detection and Localization. ICPR Workshops 2021.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64

from jaxunreg.baselines.base import check_fitted
from jaxunreg.baselines.feature_maps import Localization, check_features, to_pixels
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.features.moments import moments_of_row, upper_factor
from jaxunreg.features.network import FeatureError
from jaxunreg.integers import check_integer
from jaxunreg.signatures import check_fields, checked

# Number of images whose distances are computed at once. With more, the factors are reused while they are in the cache.
# 16 residuals of 57x57 places and 152 features take 32 MB.
_CHUNK = 16


@dataclass(frozen=True)
class PaDiMConfig:
    """The settings of a `PaDiM`.

    Attributes:
      n_features: number of features drawn at random, the same for all places; None keeps all. The paper draws 100 of
        the 448 features of ResNet-18.
      regularization: added to the diagonal of every covariance, in squared units of a feature. The paper uses 0.01.
      smoothing: sigma of the Gaussian that smooths the map before its maximum becomes the score, in pixels; 0 for none.
        The paper uses 4.
      stride: pixels from one place of the map to the next. Only smoothing needs it.
      seed: seed of the choice of features, not negative.

    Raises:
      ArgumentTypeError: an integer field is not an integer.
      ArgumentError: a field is out of its range.
    """

    n_features: int | None = None
    regularization: float = 0.01
    smoothing: float = 0.0
    stride: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if self.n_features is not None:
            check_integer("n_features", self.n_features, at_least=1)
        check_integer("stride", self.stride, at_least=1)
        check_integer("seed", self.seed, at_least=0)
        if not (math.isfinite(self.regularization) and self.regularization > 0.0):
            raise ArgumentError(argument("regularization", self.regularization), "a finite number above zero")
        if not (math.isfinite(self.smoothing) and self.smoothing >= 0.0):
            raise ArgumentError(argument("smoothing", self.smoothing), "a finite number that is not negative")


class PaDiM:
    """The Mahalanobis distance of each place from the normal features of that place.

    It is `sqrt((x - mu)^T (S + regularization I)^-1 (x - mu))` with the mean `mu` and the unbiased covariance `S` of
    the place. The unit is one standard deviation of the normal features. The score of an image is the largest distance.

    Attributes:
      config: as given.
      map_shape_: rows, columns and features of the maps of the fit.
      features_: indices of the features in use, ascending.
      mean_: `mu`, `[rows, columns, d]` of the `d` features in use, float32.
      factor_: `U` with `U U^T = (S + regularization I)^-1`, upper triangular, `[rows, columns, d, d]`, float32.

    References:
      Defard, T. et al. PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and Localization. ICPR
        Workshops 2021.

    >>> import numpy as np
    >>> features = np.random.default_rng(0).normal(size=(50, 4, 6, 3)).astype(np.float32)
    >>> baseline = PaDiM().fit(features)
    >>> far = features[:2].copy()
    >>> far[1, 2, 5] = 100.0
    >>> score, maps = baseline.localize(far)
    >>> bool(score[1] > 10 * score[0]), divmod(int(maps[1].argmax()), 6)
    (True, (2, 5))
    """

    @checked
    def __init__(self, config: PaDiMConfig | None = None) -> None:
        self.config = PaDiMConfig() if config is None else config

    def fit(self, features: np.ndarray | Array) -> "PaDiM":
        """Fit the mean and the covariance of each place, one row of the map after the other.

        Args:
          features: `[N, rows, columns, features]` of normal images, floating point.

        Returns:
          The baseline itself.

        Raises:
          ArgumentTypeError: features that are not floating point.
          FeatureError: features of another rank or not finite; fewer than two images.
          ArgumentError: `n_features` is larger than the number of features.
        """
        config = self.config
        check_features(features)
        images, _, _, channels = features.shape
        if images < 2:
            raise FeatureError(f"{images} image(s)", "at least 2 for a covariance", "add normal images", "features")
        count = channels if config.n_features is None else config.n_features
        if count > channels:
            raise ArgumentError(argument("n_features", count), f"at most {channels}, which the maps have", "lower it")
        chosen = np.sort(np.random.default_rng(config.seed).permutation(channels)[:count])
        regularization = jnp.asarray(config.regularization, jnp.float32)
        fitted = [
            _fit_row(_places_first(row[..., chosen]), regularization) for row in np.moveaxis(np.asarray(features), 1, 0)
        ]
        self.map_shape_: tuple[int, ...] = features.shape[1:]
        self.features_ = chosen
        self.mean_ = np.stack([mean for mean, _ in fitted])
        self.factor_ = np.stack([factor for _, factor in fitted])
        return self

    def scores(self, features: np.ndarray | Array) -> dict[str, Float64[np.ndarray, "n"]]:
        """Return the largest distance in each map, after smoothing if the config asks for it, under the name "score".

        Args:
          features: `[N, rows, columns, features]` of the shape fitted on, floating point.

        Returns:
          One float64 array `[N]`, in standard deviations; higher is more anomalous.

        Raises:
          NotFittedError: before `fit`.
          ArgumentTypeError: features that are not floating point.
          FeatureError: features of another shape or not finite.
        """
        return {"score": self.localize(features).score}

    def localize(self, features: np.ndarray | Array) -> Localization:
        """Return the score of each image, and the distance of each place without smoothing.

        Args:
          features: as for `scores`.

        Raises:
          NotFittedError, ArgumentTypeError, FeatureError: as for `scores`.
        """
        check_fitted(self)
        check_features(features, (None, *self.map_shape_))
        config, (rows, columns, _) = self.config, self.map_shape_
        batch = np.asarray(features)
        maps = np.concatenate(
            [self._distances(batch[start : start + _CHUNK]) for start in range(0, len(batch), _CHUNK)]
        )
        shown = (
            to_pixels(maps, rows * config.stride, columns * config.stride, config.smoothing)
            if config.smoothing
            else maps
        )
        return Localization(shown.max(axis=(1, 2)).astype(np.float64), maps)

    def _distances(self, features: np.ndarray) -> np.ndarray:
        rows = [
            _row_of_distances(_places_first(row[..., self.features_]), mean, factor)
            for row, mean, factor in zip(np.moveaxis(features, 1, 0), self.mean_, self.factor_, strict=True)
        ]
        return np.stack(rows).transpose(2, 0, 1)


def _places_first(row: np.ndarray) -> Array:
    """Return a row of the maps of several images as `[columns, images, features]` in float32."""
    return jnp.asarray(row.transpose(1, 0, 2), jnp.float32)


@jax.jit
def _fit_row(row: Array, regularization: Array) -> tuple[Array, Array]:
    mean, covariance = moments_of_row(row)
    return mean, upper_factor(jnp.linalg.cholesky(covariance + regularization * jnp.eye(row.shape[2])[None]))


@jax.jit
def _row_of_distances(row: Array, mean: Array, factor: Array) -> Array:
    # The residual comes first: x U - mu U would subtract two large numbers and lose digits in float32.
    return jnp.linalg.norm((row - mean[:, None]) @ factor, axis=2)
