"""The state of a training run, and how it starts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxunreg.decomposition import Decomposition
from jaxunreg.models.base import Model, init_variables
from jaxunreg.models.linear_start import PIXELS
from jaxunreg.training.config import TrainConfig
from jaxunreg.training.crops import random_crops
from jaxunreg.training.optimizer import make_optimizer
from jaxunreg.training.training_images import TrainingImages, image_sizes
from jaxunreg.typing import PRNGKey, PyTree, Variables


class TrainState(NamedTuple):
    """Everything that changes while training; a pytree.

    Attributes:
      step: updates done, int32 scalar.
      variables: parameters and batch statistics, `{"params": ..., "batch_stats": ...}`.
      opt_state: the optimizer's state.
      key: PRNG key. Step k draws from `fold_in(key, k)`.
    """

    step: Int[Array, ""]
    variables: Variables
    opt_state: PyTree
    key: PRNGKey


class StepMetrics(NamedTuple):
    """Batch means of one step, or of several on a leading axis.

    Attributes:
      loss: the objective, `kl_weight * D + A + M`.
      terms: D, A and M at one reparameterised sample.
    """

    loss: Float[Array | np.ndarray, "*steps"]
    terms: Decomposition


def init_state(model: Model, config: TrainConfig, key: PRNGKey) -> TrainState:
    """Make variables, optimizer state and key before the first step.

    Args:
      model: any model.
      config: see `TrainConfig`.
      key: PRNG key.

    Returns:
      A state at step 0.

    >>> import jax, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> int(init_state(model, ju.TrainConfig(steps=1), jax.random.key(0)).step)
    0
    """
    init_key, step_key = jax.random.split(key)
    variables = init_variables(model, init_key)
    opt_state = make_optimizer(config).init(variables["params"])
    return TrainState(jnp.zeros((), jnp.int32), variables, opt_state, step_key)


def starting_state(model: Model, config: TrainConfig, key: PRNGKey, images: TrainingImages) -> TrainState:
    """Make the first state: `init_state`, or a linear start on the images or on random crops.

    Args:
      model: any model.
      config: see `TrainConfig`.
      key: PRNG key.
      images: training images; see `fit`.

    Returns:
      A state at step 0.

    Raises:
      ArgumentError: a linear start for a model that has none, or a level for one that has no sigma or no room for it.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jax.random.uniform(jax.random.key(1), (16, 8, 8, 1))
    >>> state = starting_state(model, ju.TrainConfig(steps=1, start="linear"), jax.random.key(0), images)
    >>> random = init_state(model, ju.TrainConfig(steps=1), jax.random.key(0))
    >>> errors = [
    ...     jnp.mean((ju.reconstruct_images(ju.make_scorer(model, start.variables), images) - images) ** 2)
    ...     for start in (state, random)
    ... ]
    >>> bool(errors[0] < errors[1])
    True
    """
    state = init_state(model, config, key)
    if config.start == "random":
        return state
    init_key, crop_key = jax.random.split(jax.random.split(key)[0])
    if not isinstance(images, np.ndarray | jax.Array):
        height, width, channels = model.config.image_shape
        wanted = max(2, PIXELS // (height * width * channels))
        per_image = min(-(-wanted // len(images)), _CROPS_A_PLACE * _most_places(images, (height, width)))
        images = random_crops(crop_key, images, (height, width), per_image=per_image)
    return state._replace(variables=model.linear_start(images, init_key, level=config.start == "linear_level"))


# Small images have fewer different crops than the linear start takes. With so many draws, 1 in 50 is missed.
_CROPS_A_PLACE = 4


def _most_places(images: TrainingImages, patch: tuple[int, int]) -> int:
    """Return in how many places a crop can lie in the largest image."""
    return max(1, *np.prod(image_sizes(images) - patch + 1, axis=1).tolist())
