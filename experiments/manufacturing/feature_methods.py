"""The models of features, all fitted to the same maps: the detector, its Gaussian, and its peers."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, assert_never

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxunreg.baselines import PaDiM, PaDiMConfig, PatchCore, PatchCoreConfig
from jaxunreg.decomposition import LOG_2PI, Decomposition
from jaxunreg.features import Whitening, best_config, fit_whitening
from jaxunreg.inspection.feature_fitting import learn_from_maps, places_that_count, try_gaussians
from jaxunreg.inspection.held_out import kept_scores
from jaxunreg.scoring.aggregation import mean_of_highest

from .config import FeatureModel, ManufacturingConfig
from .models import HIGHEST, MODELS
from .stored_features import StoredFeatures

_PATCHCORE_SHARE = {"patchcore_1": 0.01, "patchcore_10": 0.1}


class ScoredMap(NamedTuple):
    """The results of a model for the features of one image.

    Attributes:
      scores: scores of the image, by name.
      places: a map `[rows, columns]` for each score. The two scores of a model with two rules share a map.
      nats: the mean negative log-likelihood of a place over the map; None if the model is not a density.
    """

    scores: dict[str, float]
    places: dict[str, np.ndarray]
    nats: float | None


class FeatureFitted(Protocol):
    """A model of features after its fit."""

    def __call__(self, features: np.ndarray, /) -> ScoredMap:
        """Score the map of one image, `[rows, columns, features]`."""
        ...


def fit_to_stored(
    config: ManufacturingConfig,
    model: FeatureModel,
    stored: StoredFeatures,
    numbers: Sequence[int],
    apart: Sequence[str],
    trial: int,
) -> FeatureFitted:
    """Fit a model to some of the features on disk.

    Args:
      config: of the study.
      model: the model.
      stored: features of all images. They are read from their file, so that `maps` need not be pickled.
      numbers: indices of the images that the trial learns from, in the order of `learning_order`.
      apart: for each image that the detector sets apart for its choice, the part that it shows. These images come last.
      trial: number of the trial.

    Raises:
      ArgumentError, FeatureError: there are too few images.
    """
    maps = np.load(stored.file, mmap_mode="r")[numbers]
    seed = config.seed + trial
    rule = partial(_by_detectors_rule, top_k=places_that_count(*maps.shape[1:3]))
    match model:
        case "features":
            learned = learn_from_maps(
                maps, apart, stored.network, stored.size, stored.channels, progress=config.progress
            )
            return _Density(partial(_terms_of_detector, learned.scorer), MODELS[model].scores, rule)
        case "gaussian":
            # Fitted to the same images as the detector's, so that the two differ only by the VAE.
            fitted = len(maps) - len(apart)
            whitening = fit_whitening(maps[:fitted], best_config(try_gaussians(maps, fitted)))
            whitening = jax.tree.map(jnp.asarray, whitening)
            return _Density(partial(_terms_of_gaussian, whitening), MODELS[model].scores, rule)
        case "padim":
            return _PaDiM(PaDiM(PaDiMConfig(smoothing=4.0, stride=stored.network.stride, seed=seed)).fit(maps), rule)
        case "patchcore_1" | "patchcore_10":
            settings = PatchCoreConfig(coreset=_PATCHCORE_SHARE[model], candidates=config.coreset_candidates, seed=seed)
            return _PatchCore(PatchCore(settings).fit(maps), rule)
        case never:
            assert_never(never)


@jax.jit
def _terms_of_detector(scorer: Any, features: Array) -> Decomposition:
    return scorer.maps_of_features(features)


@jax.jit
def _terms_of_gaussian(whitening: Whitening, features: Array) -> Decomposition:
    return whitening(features)


def _by_detectors_rule(places: np.ndarray, *, top_k: int) -> float:
    """Return the score of an image that an `AnomalyDetector` makes of a map."""
    return float(mean_of_highest(kept_scores(places, top_k), top_k))


class _Density:
    """A function from features to D, A and M of each place."""

    def __init__(
        self, terms: Callable[[Array], Decomposition], names: tuple[str, ...], rule: Callable[[np.ndarray], float]
    ) -> None:
        self._terms, self._names, self._rule = terms, names, rule

    def __call__(self, features: np.ndarray, /) -> ScoredMap:
        terms = jax.tree.map(np.asarray, self._terms(jnp.asarray(features)))
        places = {name: getattr(terms, name) for name in self._names}
        scores = {name: self._rule(values) for name, values in places.items()}
        return ScoredMap(scores, places, float(terms.nelbo.mean(dtype=np.float64)))


class _PaDiM:
    """Distances of places. Half their squares are M, and the factors give A."""

    def __init__(self, baseline: PaDiM, rule: Callable[[np.ndarray], float]) -> None:
        self._baseline, self._rule = baseline, rule
        log_diagonal = np.log(np.diagonal(baseline.factor_, axis1=2, axis2=3)).sum(axis=2, dtype=np.float64)
        self._a = float(np.mean(0.5 * LOG_2PI * len(baseline.features_) - log_diagonal))

    def __call__(self, features: np.ndarray, /) -> ScoredMap:
        found = self._baseline.localize(features[None])
        m = 0.5 * np.square(found.maps[0])
        scores = {"score": float(found.score[0]), HIGHEST: self._rule(m)}
        return ScoredMap(scores, dict.fromkeys(scores, found.maps[0]), self._a + float(m.mean(dtype=np.float64)))


class _PatchCore:
    """Distances of places from the nearest of a memory bank."""

    def __init__(self, baseline: PatchCore, rule: Callable[[np.ndarray], float]) -> None:
        self._baseline, self._rule = baseline, rule

    def __call__(self, features: np.ndarray, /) -> ScoredMap:
        found = self._baseline.localize(features[None])
        scores = {"score": float(found.score[0]), HIGHEST: self._rule(found.maps[0])}
        return ScoredMap(scores, dict.fromkeys(scores, found.maps[0]), None)
