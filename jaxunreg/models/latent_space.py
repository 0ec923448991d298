"""The latent space of a model: its Gaussians, and the noise with which they are sampled."""

from typing import NamedTuple

import jax
from flax import linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxunreg.typing import Latents, PRNGKey


class Gaussian(NamedTuple):
    """A diagonal Gaussian for each element of a batch.

    Attributes:
      mean: `[batch, ...]`.
      log_var: `log sigma^2`, same shape.
    """

    mean: Float[Array, "batch *event"]
    log_var: Float[Array, "batch *event"]


class LatentSpace(nn.Module):
    """The latent space of a `VAE`. A subclass changes the posterior or the noise, and may have variables of its own."""

    def restrict(self, posterior: Gaussian) -> Gaussian:
        """Return the posterior in this latent space, `[batch, latent]`. By default it is what the encoder made."""
        return posterior

    def noise(self, key: PRNGKey, shape: tuple[int, ...], dtype: DTypeLike) -> Latents:
        """Return standard normal noise for a sample of the posterior, `[batch, latent]`."""
        return jax.random.normal(key, shape, dtype)
