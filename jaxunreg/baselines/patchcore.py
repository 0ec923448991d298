"""PatchCore: the distance from the nearest of a few stored normal features.

References:
  Roth, K., Pemula, L., Zepeda, J., Schoelkopf, B., Brox, T. and Gehler, P. Towards Total Recall in Industrial Anomaly
    Detection. CVPR 2022.
"""

from dataclasses import dataclass

import numpy as np
import sklearn.random_projection
from jaxtyping import Array, Float32, Float64

from jaxunreg.baselines.base import check_fitted
from jaxunreg.baselines.coreset import greedy_coreset
from jaxunreg.baselines.feature_maps import Localization, check_features
from jaxunreg.baselines.nearest import Nearest
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.integers import check_integer
from jaxunreg.signatures import check_fields, checked


@dataclass(frozen=True)
class PatchCoreConfig:
    """The settings of a `PatchCore`, whose memory bank is thinned to a coreset.

    Attributes:
      coreset: fraction of the candidates to keep, in (0, 1]; at least one is kept. The paper uses 0.25, 0.1 and 0.01.
        With 1 all are kept, in their order.
      projection: number of features of a random Gaussian projection in which the coreset is chosen; None chooses it in
        the features themselves. The authors' program projects 1,024 features to 128.
      n_neighbors: the paper's `b`, at least 2: number of vectors of the bank that weight the score of an image; None
        for no weights.
      candidates: number of random vectors from which the coreset is chosen; None, as in the paper, for the vectors of
        all places of all images. The time of the choice grows with the square of their number.
      seed: seed of the projection, the candidates and the first vector of the coreset, not negative.

    Raises:
      ArgumentTypeError: an integer field is not an integer.
      ArgumentError: a field is out of its range.
    """

    coreset: float = 0.1
    projection: int | None = None
    n_neighbors: int | None = 9
    candidates: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0.0 < self.coreset <= 1.0:
            raise ArgumentError(argument("coreset", self.coreset), "a number in (0, 1]")
        for name, least in (("projection", 1), ("n_neighbors", 2), ("candidates", 1)):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), at_least=least)
        check_integer("seed", self.seed, at_least=0)


class PatchCore:
    """The distance of each place from the nearest vector of a bank of normal features, from anywhere in an image.

    The paper's features include their neighbourhood: they are means over 3x3 places, at two levels of a network. The
    maps of `EfficientNetLite0` and `ResNet` already are such means, so they are used unchanged.

    A place `x` has the distance `min_m |x - m|` over the bank, in the unit of the features. Let `x*` be the farthest
    place of an image, `m*` its nearest vector of the bank, and `N` the `b` vectors of the bank nearest to `m*`,
    including `m*`. The score of the image is (eq. 6 and 7 of the paper)

        (1 - exp |x* - m*| / sum_{m in N} exp |x* - m|) |x* - m*|,

    or `|x* - m*|` without weights.

    Attributes:
      config: as given.
      map_shape_: rows, columns and features of the maps of the fit.
      bank_: `[vectors, features]`, float32, in the order of the choice.
      nearest_: finds the vector of the bank that is nearest to a place.

    References:
      Roth, K. et al. Towards Total Recall in Industrial Anomaly Detection. CVPR 2022.

    >>> import numpy as np
    >>> features = np.random.default_rng(0).normal(size=(20, 4, 6, 3)).astype(np.float32)
    >>> baseline = PatchCore(PatchCoreConfig(coreset=0.25)).fit(features)
    >>> far = features[:2].copy()
    >>> far[1, 2, 5] = 100.0
    >>> score, maps = baseline.localize(far)
    >>> len(baseline.bank_), bool(score[1] > 10 * score[0]), divmod(int(maps[1].argmax()), 6)
    (120, True, (2, 5))
    """

    @checked
    def __init__(self, config: PatchCoreConfig | None = None) -> None:
        self.config = PatchCoreConfig() if config is None else config

    def fit(self, features: np.ndarray | Array) -> "PatchCore":
        """Fill the bank with the features of all places of all images, and thin it to the coreset.

        Args:
          features: `[N, rows, columns, features]` of normal images, floating point.

        Returns:
          The baseline itself.

        Raises:
          ArgumentTypeError: features that are not floating point.
          FeatureError: features of another rank or not finite.
        """
        check_features(features)
        bank = _bank(np.asarray(features).reshape(-1, features.shape[3]), self.config)
        self.map_shape_: tuple[int, ...] = features.shape[1:]
        self.bank_ = bank
        self.nearest_ = Nearest(bank)
        return self

    def scores(self, features: np.ndarray | Array) -> dict[str, Float64[np.ndarray, "n"]]:
        """Return the weighted distance of the farthest place in each map, under the name "score".

        Args:
          features: `[N, rows, columns, features]` with the features of the fit, floating point. The maps may have
            another size.

        Returns:
          One float64 array `[N]`, in the unit of the features; higher is more anomalous.

        Raises:
          NotFittedError: before `fit`.
          ArgumentTypeError: features that are not floating point.
          FeatureError: the number of features differs, or they are not finite.
        """
        return {"score": self.localize(features).score}

    def localize(self, features: np.ndarray | Array) -> Localization:
        """Return the score of each image, and the distance of each place.

        Args:
          features: as for `scores`.

        Raises:
          NotFittedError, ArgumentTypeError, FeatureError: as for `scores`.
        """
        check_fitted(self)
        check_features(features, (None, None, None, self.map_shape_[2]))
        maps = np.empty(features.shape[:3], np.float32)
        score = np.empty(len(features), np.float64)
        for number, of_image in enumerate(features):
            places = np.asarray(of_image, np.float32).reshape(-1, self.map_shape_[2])
            distances, nearest = self.nearest_(places)
            maps[number] = distances.reshape(maps.shape[1:])
            farthest = int(distances.argmax())
            score[number] = distances[farthest] * self._weight(places[farthest], int(nearest[farthest]))
        return Localization(score, maps)

    def _weight(self, place: Float32[np.ndarray, "features"], nearest: int) -> float:
        """Return 1 minus the softmax of the place's distance from `bank_[nearest]` among those from its neighbours."""
        if self.config.n_neighbors is None:
            return 1.0
        count = min(self.config.n_neighbors, len(self.bank_))
        from_nearest = np.linalg.norm(self.bank_ - self.bank_[nearest], axis=1)
        around = np.argpartition(from_nearest, count - 1)[:count]
        distances = np.linalg.norm(place - self.bank_[np.append(around, nearest)], axis=1).astype(np.float64)
        distances -= distances.max()  # no exponential overflows then
        return float(1.0 - np.exp(distances[-1]) / np.exp(distances[:-1]).sum())


def _bank(vectors: np.ndarray, config: PatchCoreConfig) -> Float32[np.ndarray, "vectors features"]:
    rng = np.random.default_rng(config.seed)
    if config.candidates is not None and config.candidates < len(vectors):
        vectors = vectors[np.sort(rng.permutation(len(vectors))[: config.candidates])]
    size = max(1, round(config.coreset * len(vectors)))
    if size >= len(vectors):
        return np.array(vectors, np.float32)
    first = int(rng.integers(len(vectors)))
    return np.asarray(vectors[greedy_coreset(_projected(vectors, config), size, first)], np.float32)


def _projected(vectors: np.ndarray, config: PatchCoreConfig) -> np.ndarray:
    if config.projection is None:
        return vectors
    projection = sklearn.random_projection.GaussianRandomProjection(config.projection, random_state=config.seed)
    return projection.fit_transform(np.asarray(vectors, np.float32))
