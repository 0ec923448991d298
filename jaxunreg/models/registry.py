"""Models by name. Kind and config are saved with the weights, and a model is made of them again."""

import dataclasses
from typing import Any

from jaxunreg.errors import ArgumentError, ArgumentTypeError, CheckpointError, argument
from jaxunreg.models.base import Model
from jaxunreg.serialization import to_json


@dataclasses.dataclass(frozen=True)
class _Registered:
    model: type[Any]
    config: type[Any]


_MODELS: dict[str, _Registered] = {}


def register_model(kind: str, model: type[Any], config: type[Any]) -> None:
    """Give a class of models the name under which its models are saved, loaded and exported.

    Args:
      kind: the name.
      model: the class; `model(config)` makes a model, and models of equal configs are equal.
      config: the class of its configs, frozen dataclasses whose fields are JSON data or tuples.

    Raises:
      ArgumentError: another class has that name.

    >>> import jaxunreg as ju
    >>> register_model("vae", ju.VAE, ju.VAEConfig)  # as jaxunreg does itself
    """
    registered = _Registered(model, config)
    if _MODELS.setdefault(kind, registered) != registered:
        raise ArgumentError(
            argument("kind", kind), "a name that no other model has", f"choose another {argument('kind')}"
        )


def registered_models() -> tuple[str, ...]:
    """Return the names of all kinds of models, sorted.

    >>> {"autoencoder", "vae"} <= set(registered_models())
    True
    """
    return tuple(sorted(_MODELS))


def describe_model(model: Model) -> dict[str, Any]:
    """Return kind and config of a model as JSON data, from which `build_model` makes it again.

    Raises:
      ArgumentTypeError: the model's class is not registered, or its config alone does not make the model.

    >>> from jaxunreg import VAE, VAEConfig
    >>> describe_model(VAE(VAEConfig(latent_dim=20)))["config"]["latent_dim"]
    20
    """
    config = getattr(model, "config", None)
    for kind, registered in _MODELS.items():
        if isinstance(config, registered.config) and registered.model(config) == model:
            return {"kind": kind, "config": to_json(dataclasses.asdict(model.config))}
    raise ArgumentTypeError(
        f"a model that is not registered, {type(model).__name__}",
        f"one of {list(registered_models())}, made of its config alone",
        "register its class with `jaxunreg.models.register_model`",
        field="model",
    )


def build_model(description: dict[str, Any]) -> Model:
    """Return the model that `describe_model` described.

    Raises:
      CheckpointError: an unknown kind, or a config that this version does not know.

    >>> from jaxunreg import VAE, VAEConfig
    >>> model = VAE(VAEConfig(latent_dim=20))
    >>> build_model(describe_model(model)) == model
    True
    """
    try:
        registered = _MODELS[description["kind"]]
        fields = {
            name: tuple(value) if isinstance(value, list) else value for name, value in description["config"].items()
        }
        return registered.model(registered.config(**fields))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"a model description that cannot be built: {error}",
            f"one of the kinds {list(registered_models())} with the config of this version of jaxunreg",
            "use the version that saved it, or register the model's class first",
        ) from error
