"""Models by name: the kind and config that are saved with weights, and the model that they make."""

import dataclasses
from typing import Any

from jaxunreg.errors import CheckpointError
from jaxunreg.models.autoencoder import Autoencoder, AutoencoderConfig
from jaxunreg.models.base import Model
from jaxunreg.models.vae import VAE, VAEConfig
from jaxunreg.serialization import to_json

_MODELS: dict[str, tuple[Any, Any]] = {
    "vae": (VAE, VAEConfig),
    "autoencoder": (Autoencoder, AutoencoderConfig),
}


def describe_model(model: Model) -> dict[str, Any]:
    """Kind and config of a model as JSON data, from which `build_model` makes it again.

    Raises:
      TypeError: a model of another kind than `VAE` and `Autoencoder`.

    >>> from jaxunreg import VAE, VAEConfig
    >>> describe_model(VAE(VAEConfig(latent_dim=20)))["config"]["latent_dim"]
    20
    """
    for kind, (model_class, _) in _MODELS.items():
        if type(model) is model_class:
            return {"kind": kind, "config": to_json(dataclasses.asdict(model.config))}
    raise TypeError(f"got a model of type {type(model).__name__}; expected one of {sorted(_MODELS)}")


def build_model(description: dict[str, Any]) -> Model:
    """The model that `describe_model` described.

    Raises:
      CheckpointError: an unknown kind, or a config that this version does not know.

    >>> from jaxunreg import VAE, VAEConfig
    >>> model = VAE(VAEConfig(latent_dim=20))
    >>> build_model(describe_model(model)) == model
    True
    """
    try:
        model_class, config_class = _MODELS[description["kind"]]
        fields = {
            name: tuple(value) if isinstance(value, list) else value for name, value in description["config"].items()
        }
        return model_class(config_class(**fields))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"got a model description that cannot be built: {error}; expected one of the kinds {sorted(_MODELS)} "
            "with the config of this version of jaxunreg"
        ) from error
