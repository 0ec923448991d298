"""A VAE with linear encoder and decoder on a whitened map of features.

With `y` the whitened residuals of all places (`jaxunreg.features.Whitening`) as one vector, and orthonormal components
`W` of `[latent_dim, places x features]`, it is probabilistic PCA with unit noise,

    p(z) = N(0, 1),    p(y | z) = N(W^T diag(sqrt(v)) z, sigma^2(z)),

where `v` is the variance of each component beyond the noise. The posterior has the mean
`mu_j = sqrt(v_j) (W y)_j / (1 + v_j)` and the variance `1 / (1 + v_j)`. With them the three terms are those of eq. 5
and 6. Without latent variables it is the Gaussian of the whitening. `sigma` is one if nothing better was learned.
Otherwise its logarithm at each place is linear in the latent variables and their squares, so that it depends on the
image.

References:
  Tipping, M. E. and Bishop, C. M. Probabilistic Principal Component Analysis. JRSS B 61, 1999.
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

# A latent variable counts for sigma up to three standard deviations. All together change the variance by a factor of at
# most e.
_FARTHEST = 3.0
_MOST_LOG_VARIANCE = 1.0


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["whitening", "components", "signal", "log_variance"],
    meta_fields=[],
)
@dataclass(frozen=True, eq=False)  # Compared and hashed by identity, like a function, so that `jit` takes it.
class MapVAE:
    """A linear VAE on a whitened map as a callable pytree, from a map to a `Decomposition` of `[rows, columns]`.

    `fit_map_vae` makes it. It takes maps of one size.

    Attributes:
      whitening: its start: the Gaussians that whiten the map.
      components: `W`, orthonormal, `[latent_dim, rows, columns, features]`, float16 to halve the memory.
      signal: `v`, the variance of each component beyond the noise, `[latent_dim]`.
      log_variance: coefficients of `log sigma^2` for each place, `[2 latent_dim + 1, rows, columns]`: a constant, a
        weight for each latent variable and one for each square; zeros for a sigma of one.
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
        """Number of latent variables."""
        return self.components.shape[0]

    def __call__(self, features: FeatureMap) -> Decomposition:
        """Return D, A and M of each place.

        Args:
          features: `[rows, columns, features]`, floating point. `jax.vmap` makes a batch of it.

        Returns:
          Float32 `[rows, columns]`, in nats a place, higher is more anomalous. D belongs to the whole map, and each
          place has an equal share of it.

        Raises:
          FeatureError: the number of features or the size of the map differs.
        """
        whitened = self.whitening.whiten(features)
        latent = _projected(self.components, whitened)
        explained = _mixed(self.components, latent * self.signal / (1.0 + self.signal))
        log_variance = log_variance_of(standardised(latent, self.signal), self.log_variance)
        m = 0.5 * jnp.sum(jnp.square(whitened - explained), axis=2) * jnp.exp(-log_variance)
        a = self.whitening.log_normalizer + 0.5 * features.shape[2] * log_variance
        return Decomposition(d=jnp.full_like(m, kl_divergence(latent, self.signal) / m.size), a=a, m=m)


# One component after another. An einsum over all components first makes a float32 copy of them: with 64 components of
# 48x48 places it takes 780 ms and 174 MB on two cores, while this takes 27 ms and 4 MB. The checkpoints keep the copy
# out of gradients, too.
def _projected(components: Array, whitened: Array) -> Float[Array, " latent_dim"]:
    """Return `W y`."""
    return lax.map(jax.checkpoint(lambda one: jnp.sum(one.astype(jnp.float32) * whitened)), components)


def _mixed(components: Array, weights: Array) -> Float[Array, "rows columns features"]:
    """Return `W^T weights`."""

    @jax.checkpoint
    def add(total: Array, each: tuple[Array, Array]) -> tuple[Array, None]:
        component, weight = each
        return total + weight * component.astype(jnp.float32), None

    return lax.scan(add, jnp.zeros(components.shape[1:], jnp.float32), (components, weights))[0]


FeatureDensity: TypeAlias = Whitening | MapVAE
"""A density that is learned from the features of normal images."""


def kl_divergence(latent: Float[Array, " latent_dim"], signal: Float[Array, " latent_dim"]) -> Float[Array, ""]:
    """Return D of a map: the divergence of the posterior from the prior, in nats.

    Args:
      latent: `W y`.
      signal: `v`.

    >>> float(kl_divergence(jnp.zeros(2), jnp.zeros(2)))
    0.0
    """
    mean, variance = latent * jnp.sqrt(signal) / (1.0 + signal), 1.0 / (1.0 + signal)
    return 0.5 * jnp.sum(jnp.square(mean) + variance - 1.0 - jnp.log(variance))


def standardised(latent: Float[Array, " latent_dim"], signal: Float[Array, " latent_dim"]) -> Float[Array, " _"]:
    """Return the inputs of `log sigma^2`: one, the latent variables in standard deviations, their squares minus one.

    >>> standardised(jnp.array([2.0]), jnp.array([3.0])).tolist()
    [1.0, 1.0, 0.0]
    """
    scaled = jnp.clip(latent / jnp.sqrt(1.0 + signal), -_FARTHEST, _FARTHEST)
    return jnp.concatenate([jnp.ones(1, scaled.dtype), scaled, jnp.square(scaled) - 1.0])


def log_variance_of(
    inputs: Float[Array, "*n weights"], weights: Float[Array, "weights *places"]
) -> Float[Array, "*n_and_places"]:
    """Return `log sigma^2` of each place, from `standardised`.

    >>> log_variance_of(jnp.array([1.0, 1.0]), jnp.array([[0.5], [9.0]])).tolist()
    [1.0]
    """
    return jnp.clip(jnp.tensordot(inputs, weights, axes=1), -_MOST_LOG_VARIANCE, _MOST_LOG_VARIANCE)
