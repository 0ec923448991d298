"""A detector's scorer on disk: a model with its weights, or a density of features and the name of their network."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import jax
import numpy as np
import safetensors
import safetensors.numpy

from jaxunreg.errors import CheckpointError
from jaxunreg.features.efficientnet_lite import EfficientNetLite0
from jaxunreg.features.map_vae import FeatureDensity, MapVAE
from jaxunreg.features.network import FeatureNetwork
from jaxunreg.features.weights import SHA256
from jaxunreg.features.whitening import Whitening
from jaxunreg.nn.config import Precision
from jaxunreg.scoring.feature_scorer import FeatureScorer
from jaxunreg.scoring.map_scorer import MapScorer
from jaxunreg.tensor_file import read_tensors

_WHITENING = "whitening.safetensors"
_ADVICE = "copy it again, or fit again into another folder"


def save_scorer(directory: Path, scorer: MapScorer) -> None:
    """Save a scorer into a folder that does not exist yet, without pickle.

    Raises:
      CheckpointError, OSError: the folder cannot be written.
    """
    _FILES[scorer.space].save(directory, scorer)


def load_scorer(directory: Path, space: str, network: FeatureNetwork | None) -> MapScorer:
    """Load a scorer that `save_scorer` saved.

    Args:
      directory: the folder.
      space: `scorer.space` of the saved scorer.
      network: the feature network, if it is the user's own.

    Raises:
      CheckpointError: there is no scorer, it is cut short or altered, or it was made with another feature network.
    """
    if space not in _FILES:
        raise CheckpointError(f"a scorer in the space {space!r}", f"one of {list(_FILES)}", _ADVICE)
    return _FILES[space].load(directory, network)


class _Files(NamedTuple):
    save: Callable[[Path, Any], None]
    load: Callable[[Path, FeatureNetwork | None], MapScorer]


def _save_pixels(directory: Path, scorer: Any) -> None:
    from jaxunreg.training.saved_model import save_model  # imports Flax, which a detector of features does not need

    save_model(directory, scorer.model, scorer.variables)


def _load_pixels(directory: Path, network: FeatureNetwork | None) -> MapScorer:
    from jaxunreg.scoring.scorer import make_scorer  # imports Flax, as above
    from jaxunreg.training.saved_model import load_model

    if network is not None:
        raise CheckpointError(
            f"a feature network, {network.name}, for a detector in the space of pixels",
            "none",
            "leave `network` out, or load another detector",
        )
    return make_scorer(*load_model(directory))


def _save_features(directory: Path, scorer: Any) -> None:
    directory.mkdir()
    density = scorer.density
    parts = [density.whitening, density] if isinstance(density, MapVAE) else [density]
    arrays = {name: np.asarray(value) for part in parts for name, value in vars(part).items() if name != "whitening"}
    about = {
        "network": scorer.network.name,
        "network_sha256": scorer.network.sha256,
        "arithmetic": scorer.arithmetic,
        "working_size": list(scorer.size),
        "channels": scorer.channels,
    }
    safetensors.numpy.save_file(arrays, directory / _WHITENING, metadata={"about": json.dumps(about)})


def _load_features(directory: Path, network: FeatureNetwork | None) -> MapScorer:
    path = directory / _WHITENING
    if not path.is_file():
        raise CheckpointError(f"no file {path}", "what was learned, saved there", _ADVICE)
    try:
        arrays, metadata = read_tensors(path)
        about = json.loads(metadata["about"])
        height, width = about["working_size"]
        density = _density(arrays)
        wanted, channels = about["network_sha256"], about["channels"]
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path}, which cannot be read: {error}", "a file that `jaxunreg fit` wrote", _ADVICE
        ) from error
    return FeatureScorer(_network(network, about, wanted), density, (height, width), channels)


def _density(arrays: dict[str, jax.Array]) -> FeatureDensity:
    of_vae = {field.name for field in dataclasses.fields(MapVAE)} & set(arrays)
    whitening = Whitening(**{name: value for name, value in arrays.items() if name not in of_vae})
    return MapVAE(whitening, **{name: arrays[name] for name in of_vae}) if of_vae else whitening


def _network(given: FeatureNetwork | None, about: Mapping[str, Any], wanted: str) -> FeatureNetwork:
    """Return the network whose features were learned."""
    if given is None:
        if wanted == SHA256 and about["arithmetic"] in get_args(Precision):
            return EfficientNetLite0.pretrained(precision=about["arithmetic"])
        raise CheckpointError(
            f"a detector of the feature network {about['network']} with the SHA-256 {wanted}, "
            f"in {about['arithmetic']}, which is not bundled",
            "that network",
            "load the detector in Python by `AnomalyDetector.load(directory, network=...)`",
        )
    if (given.name, given.sha256) != (about["network"], wanted):
        raise CheckpointError(
            f"the feature network {given.name} with the SHA-256 {given.sha256}",
            f"the network of the detector: {about['network']} with the SHA-256 {wanted}",
            "pass that network, or fit again with this one",
        )
    return given


_FILES: Mapping[str, _Files] = {
    "pixels": _Files(_save_pixels, _load_pixels),
    "features": _Files(_save_features, _load_features),
}
