"""What a model must offer, as a type; and its first variables."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from jaxunreg.compilation import jit_once
from jaxunreg.nn.config import NetworkConfig
from jaxunreg.typing import PRNGKey, Variables


@runtime_checkable
class Model(Protocol):
    """What a model must offer to be trained and scored: `VAE` and `Autoencoder` do.

    Methods that take a batch of float images, run through `apply(variables, ..., method=...)`:

    - `terms(images) -> Decomposition`, `[batch]`, deterministic: the score;
    - `pixel_terms(images) -> Decomposition`, `[batch, height, width]`: the score by pixel, whose sum it is;
    - `all_terms(images) -> AllTerms`: both of these, from one forward pass;
    - `training_terms(images, key, train=True) -> Decomposition`, `[batch]`: the objective is the mean of `d + a + m`;
    - `reconstruct(images) -> images`.
    """

    @property
    def config(self) -> NetworkConfig:
        """Sizes of the network."""
        ...

    @property
    def init(self) -> Callable[..., Any]:
        """Flax's `init`."""
        ...

    @property
    def apply(self) -> Callable[..., Any]:
        """Flax's `apply`."""
        ...


@jit_once
def init_variables(model: Any, key: PRNGKey) -> Variables:
    """`model.init`, in one program: op by op, a first call compiles some hundred small ones.

    The model is an argument of it, so that the next seed of an equal one compiles nothing.

    >>> import jax, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> sorted(init_variables(model, jax.random.key(0)))
    ['batch_stats', 'params']
    """
    return model.init(key, jnp.zeros((1, *model.config.image_shape), jnp.float32))


def variables_like(model: Model) -> Variables:
    """Structure, shapes and dtypes of a model's variables."""
    images = jax.ShapeDtypeStruct((1, *model.config.image_shape), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)
