"""A VAE on a whitened map of features, whose encoder and decoder are linear.

With `y` the whitened residuals of all places (`jaxunreg.features.Whitening`) as one vector, and orthonormal components
`W` of `[latent_dim, places x features]`, it is probabilistic PCA (Tipping and Bishop, 1999) with unit noise,

    p(z) = N(0, 1),    p(y | z) = N(W^T diag(sqrt(v)) z, sigma^2(z)),

where `v` is the variance of each component beyond the noise. The posterior has the mean `mu_j = sqrt(v_j) (W y)_j /
(1 + v_j)` and the variance `1 / (1 + v_j)`, and with them the three terms are those of eq. 5 and 6. With no latent
variable that is the Gaussian of the whitening. `sigma` is one where nothing better was learned; else its logarithm is,
at each place, linear in the latent variables and their squares, so that it follows the image.
"""

from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Num

from jaxunreg.decomposition import Decomposition
from jaxunreg.features.network import FeatureMap
from jaxunreg.features.whitening import Whitening

# A latent variable moves sigma up to three standard deviations, and all of them together the variance up to e.
_FARTHEST = 3.0
_MOST_LOG_VARIANCE = 1.0


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["whitening", "components", "signal", "log_variance"],
    meta_fields=[],
)
@dataclass(frozen=True, eq=False)  # Compared and hashed by identity, as a function is, so that `jit` takes it.
class MapVAE:
    """A linear VAE on a whitened map as a callable pytree: map in, `Decomposition` of `[rows, columns]` out.

    Made by `fit_map_vae`. It takes maps of one size.

    Attributes:
      whitening: where it starts: the Gaussians that whiten the map.
      components: `W`, orthonormal, `[latent_dim, rows, columns, features]`, float16 to halve the memory.
      signal: `v`, the variance of each component beyond that of the noise, `[latent_dim]`.
      log_variance: what makes `log sigma^2` of each place, `[2 latent_dim + 1, rows, columns]`: a constant, a weight of
        each latent variable and one of each square; zeros for a sigma of one.
    """

    whitening: Whitening
    components: Num[Array, "latent_dim rows columns features"]
    signal: Float[Array, " latent_dim"]
    log_variance: Float[Array, "weights rows columns"]

    @property
    def per_place(self) -> bool:
        """Whether each place has its own mean."""
        return self.whitening.per_place

    @property
    def latent_dim(self) -> int:
        """How many latent variables there are."""
        return self.components.shape[0]

    def __call__(self, features: FeatureMap) -> Decomposition:
        """D, A and M of each place.

        Args:
          features: `[rows, columns, features]`, floating point. `jax.vmap` makes a batch of it.

        Returns:
          Float32 `[rows, columns]`, in nats a place, higher is more anomalous. D belongs to the map as a whole, and
          each place has an equal share of it.

        Raises:
          FeatureError: another number of features, or another size of the map.
        """
        whitened = self.whitening.whiten(features)
        latent = _projected(self.components, whitened)
        explained = _mixed(self.components, latent * self.signal / (1.0 + self.signal))
        log_variance = log_variance_of(standardised(latent, self.signal), self.log_variance)
        m = 0.5 * jnp.sum(jnp.square(whitened - explained), axis=2) * jnp.exp(-log_variance)
        a = self.whitening.log_normalizer + 0.5 * features.shape[2] * log_variance
        return Decomposition(d=jnp.full_like(m, kl_divergence(latent, self.signal) / m.size), a=a, m=m)


# One component after another. An einsum over all of them makes a float32 copy of them first: with 64 components of
# 48x48 places it takes 780 ms and 174 MB on two cores, and this takes 27 ms and 4 MB. The checkpoints keep the copy out
# of gradients, too.
def _projected(components: Array, whitened: Array) -> Float[Array, " latent_dim"]:
    """`W y`."""
    return lax.map(jax.checkpoint(lambda one: jnp.sum(one.astype(jnp.float32) * whitened)), components)


def _mixed(components: Array, weights: Array) -> Float[Array, "rows columns features"]:
    """`W^T weights`."""

    @jax.checkpoint
    def add(total: Array, each: tuple[Array, Array]) -> tuple[Array, None]:
        component, weight = each
        return total + weight * component.astype(jnp.float32), None

    return lax.scan(add, jnp.zeros(components.shape[1:], jnp.float32), (components, weights))[0]


FeatureDensity: TypeAlias = Whitening | MapVAE
"""What is learned of the features of normal images."""


def kl_divergence(latent: Float[Array, " latent_dim"], signal: Float[Array, " latent_dim"]) -> Float[Array, ""]:
    """D of a map: the divergence of the posterior from the prior, in nats.

    Args:
      latent: `W y`.
      signal: `v`.

    >>> float(kl_divergence(jnp.zeros(2), jnp.zeros(2)))
    0.0
    """
    mean, variance = latent * jnp.sqrt(signal) / (1.0 + signal), 1.0 / (1.0 + signal)
    return 0.5 * jnp.sum(jnp.square(mean) + variance - 1.0 - jnp.log(variance))


def standardised(latent: Float[Array, " latent_dim"], signal: Float[Array, " latent_dim"]) -> Float[Array, " _"]:
    """What `log sigma^2` is linear in: one, the latent variables in standard deviations, and their squares less one.

    >>> standardised(jnp.array([2.0]), jnp.array([3.0])).tolist()
    [1.0, 1.0, 0.0]
    """
    scaled = jnp.clip(latent / jnp.sqrt(1.0 + signal), -_FARTHEST, _FARTHEST)
    return jnp.concatenate([jnp.ones(1, scaled.dtype), scaled, jnp.square(scaled) - 1.0])


def log_variance_of(
    inputs: Float[Array, "*n weights"], weights: Float[Array, "weights *places"]
) -> Float[Array, "*n_and_places"]:
    """`log sigma^2` of each place, from `standardised`.

    >>> log_variance_of(jnp.array([1.0, 1.0]), jnp.array([[0.5], [9.0]])).tolist()
    [1.0]
    """
    return jnp.clip(jnp.tensordot(inputs, weights, axes=1), -_MOST_LOG_VARIANCE, _MOST_LOG_VARIANCE)
