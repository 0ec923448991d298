"""Adam with weight decay in PyTorch's sense, and its schedule."""

from typing import NamedTuple

import numpy as np
import optax
from jaxtyping import Array, Float, Int

from jaxunreg.training.config import TrainConfig


class Hyperparameters(NamedTuple):
    """The settings that may differ between the members of one program, as arrays instead of `TrainConfig`'s numbers.

    Attributes:
      learning_rate: Adam's alpha at its highest.
      weight_decay: L2 coefficient.
      kl_weight: weight of D in the objective after its warm-up.
    """

    learning_rate: Float[Array | np.ndarray, "*members"]
    weight_decay: Float[Array | np.ndarray, "*members"]
    kl_weight: Float[Array | np.ndarray, "*members"]


def make_optimizer(config: TrainConfig, hyper: Hyperparameters | None = None) -> optax.GradientTransformation:
    """Make Adam with L2 weight decay added to the gradient, like PyTorch's `Adam(weight_decay=...)`.

    Args:
      config: see `TrainConfig`.
      hyper: scalars that replace the config's learning rate and weight decay. They may be traced.

    Returns:
      An optimizer whose state does not depend on `hyper`.

    References:
      Kingma, D. P. and Ba, J. Adam: A Method for Stochastic Optimization. ICLR 2015.

    >>> import jax, jax.numpy as jnp
    >>> optimizer = make_optimizer(TrainConfig(steps=10, weight_decay=0.1, schedule="constant"))
    >>> params = {"w": jnp.array([2.0])}
    >>> with jax.numpy_dtype_promotion("standard"):
    ...     updates, _ = optimizer.update({"w": jnp.array([0.0])}, optimizer.init(params), params)
    >>> round(float(updates["w"][0]), 6)
    -0.001
    """
    if hyper is None:
        rate = _schedule(config, config.learning_rate)
        decay = optax.add_decayed_weights(config.weight_decay)
    else:
        peak, relative = hyper.learning_rate, _schedule(config, 1.0)
        decay = optax.add_decayed_weights(hyper.weight_decay)

        def rate(count: Int[Array, ""]) -> Float[Array, ""]:
            return peak * relative(count)

    return optax.chain(decay, optax.adam(rate, b1=config.b1, b2=config.b2))


def _schedule(config: TrainConfig, peak: float) -> optax.Schedule:
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(
            0.0 if config.warmup_steps else peak, peak, config.warmup_steps, config.steps
        )
    if config.warmup_steps:
        return optax.linear_schedule(0.0, peak, config.warmup_steps)
    return optax.constant_schedule(peak)
