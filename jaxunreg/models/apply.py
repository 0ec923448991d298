"""The methods of a model as functions of its variables. Only this file runs a Flax method.

All are pure functions. So `jit`, `vmap` and `grad` take them, and they can be static arguments of a program.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import flax.errors

from jaxunreg.decomposition import AllTerms, Decomposition
from jaxunreg.errors import ArgumentError
from jaxunreg.models.base import Model
from jaxunreg.typing import Images, PRNGKey, Variables

Method: TypeAlias = Callable[[Model, Variables, Images], Any]
"""`terms`, `pixel_terms`, `all_terms` or `reconstruct` of this module."""


def terms(model: Model, variables: Variables, images: Images) -> Decomposition:
    """Return the score of each image, `[batch]`; see `Model.terms`.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jnp.zeros((2, 8, 8, 1))
    >>> terms(model, model.init(jax.random.key(0), images), images).m.shape
    (2,)
    """
    return _apply(model, variables, images, method=model.terms)


def pixel_terms(model: Model, variables: Variables, images: Images) -> Decomposition:
    """Return the score of each pixel, `[batch, height, width]`; see `Model.pixel_terms`."""
    return _apply(model, variables, images, method=model.pixel_terms)


def all_terms(model: Model, variables: Variables, images: Images) -> AllTerms:
    """`terms` and `pixel_terms`, from one forward pass where the model can."""
    return _apply(model, variables, images, method=model.all_terms)


def training_terms(
    model: Model, variables: Variables, images: Images, key: PRNGKey, *, train: bool = True
) -> tuple[Decomposition, Variables]:
    """Return the objective of each image, `[batch]`, and the collections that changed; see `Model.training_terms`.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jnp.zeros((2, 8, 8, 1))
    >>> _, updated = training_terms(model, model.init(jax.random.key(0), images), images, jax.random.key(1))
    >>> list(updated)
    ['batch_stats']
    """
    return _apply(model, variables, images, key, train=train, method=model.training_terms, mutable=["batch_stats"])


def reconstruct(model: Model, variables: Variables, images: Images) -> Images:
    """Return the images as the model expects them, same shape; see `Model.reconstruct`."""
    return _apply(model, variables, images, method=model.reconstruct)


def folded(model: Model, variables: Variables, images: Images) -> Variables:
    """Return the collections that a model keeps to score faster, or none.

    Args:
      model: the model.
      variables: its variables.
      images: a batch of the model's images; only its shape is used.
    """
    _, collections = _apply(model, variables, images, method=model.terms, mutable=["folded"])
    return collections


def _apply(model: Model, variables: Variables, *inputs: Any, **how: Any) -> Any:
    """Call Flax's `apply`, and raise its errors about variables in the words of this package."""
    try:
        return model.apply(variables, *inputs, **how)
    except flax.errors.FlaxError as error:
        raise ArgumentError(
            f"variables that do not belong to this {type(model).__name__} ({_first_sentence(error)})",
            "those that its init or fit made, with the same config",
            "take the variables and the model from one place",
            field="variables",
        ) from error


def _first_sentence(error: Exception) -> str:
    return str(error).split(". ")[0].split(" (http")[0]
