"""The decomposition of a negative log-likelihood bound into D, A and M (eq. 5 and 6 of the paper)."""

import math
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.signatures import checked

LOG_2PI = math.log(2.0 * math.pi)

Term = Literal["d", "a", "m", "nelbo"]
"""The name of a score."""


class Decomposition(NamedTuple):
    """The three terms of `L(x) = D(x) + A(x) + M(x)`, in nats; higher is more anomalous.

    The leaves share one shape: `[]` for one image, `[N]` for a batch, `[rows, columns]` for a patch grid. They are JAX
    arrays if a network made them, and NumPy arrays if scikit-learn or a function for many images did.

    Attributes:
      d: regularization term. VAE: the KL divergence of the posterior from the prior. GMM: `-log w_k`.
      a: log-normalizing constant of the likelihood.
      m: half squared normalized (Mahalanobis) distance, the *unregularized score*.
    """

    d: Array | np.ndarray
    a: Array | np.ndarray
    m: Array | np.ndarray

    @property
    def nelbo(self) -> Array | np.ndarray:
        """Negative ELBO `D + A + M` (eq. 5), the objective of training and the ordinary anomaly score."""
        return self.d + self.a + self.m


class AllTerms(NamedTuple):
    """The terms of images and of their pixels, from one pass of a network.

    Attributes:
      images: leaves `[N]`, in nats an image.
      pixels: leaves `[N, height, width]`, in nats a pixel. Their sums over an image are its terms, up to rounding.
    """

    images: Decomposition
    pixels: Decomposition


def kl_to_standard_normal(mean: Float[Array, "*shape"], log_var: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""Return the KL divergence of `N(mean, exp(log_var))` from `N(0, 1)`, elementwise.

    Each element is one summand of D (eq. 6): `1/2 (mu^2 + sigma^2 - 1 - log sigma^2)`.

    Args:
      mean: `mu_z`, any shape, floating point.
      log_var: `log sigma_z^2`, same shape and dtype.

    Returns:
      Nats, same shape and dtype, never negative.

    >>> import jax.numpy as jnp
    >>> kl_to_standard_normal(jnp.array([0.0, 1.0]), jnp.array([0.0, 0.0])).tolist()
    [0.0, 0.5]
    """
    # expm1 keeps the digits that exp(v) - 1 - v loses around v = 0, the value of an unused latent unit.
    return 0.5 * (jnp.square(mean) + jnp.expm1(log_var) - log_var)


def log_normalizer(log_var: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return the log-normalizing constant of a Gaussian, elementwise.

    Each element is one summand of A (eq. 6): `1/2 log(2 pi sigma^2)`.

    Args:
      log_var: `log sigma_x^2`, any shape, floating point.

    Returns:
      Nats, same shape and dtype; negative where sigma is below `1 / sqrt(2 pi)`.

    >>> import jax.numpy as jnp
    >>> round(float(log_normalizer(jnp.zeros(()))), 6)
    0.918939
    """
    return 0.5 * (LOG_2PI + log_var)


def half_squared_distance(
    x: Float[Array, "*shape"], mean: Float[Array, "*shape"], log_var: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Return half the squared normalized distance of `x` from a Gaussian, elementwise.

    Each element is one summand of M (eq. 6): `1/2 (x - mu)^2 / sigma^2`.

    Args:
      x: the sample, any shape, floating point.
      mean: `mu_x`, same shape and dtype.
      log_var: `log sigma_x^2`, same shape and dtype. In float32 it must be above -88, where `exp(-log_var)` overflows.

    Returns:
      Nats, same shape and dtype, never negative.

    >>> import jax.numpy as jnp
    >>> float(half_squared_distance(jnp.array(3.0), jnp.array(1.0), jnp.array(0.0)))
    2.0
    """
    return 0.5 * jnp.square(x - mean) * jnp.exp(-log_var)


@checked
def decompose_gaussian(
    x: Float[Array, "*pixels"],
    x_mean: Float[Array, "*pixels"],
    x_log_var: Float[Array, "*pixels"],
    z_mean: Float[Array, "*latent"],
    z_log_var: Float[Array, "*latent"],
    x_inverse_var: Float[Array, "*pixels"] | None = None,
) -> Decomposition:
    """Return D, A and M of one image: the sums of eq. 6 over latent units and over pixels.

    Args:
      x: the image, of any shape, e.g. `[height, width, channels]`.
      x_mean: mean of the likelihood at the posterior mean, same shape.
      x_log_var: its log-variance, same shape; in float32 above -88, as for `half_squared_distance`.
      z_mean: posterior mean, e.g. `[latent]`.
      z_log_var: posterior log-variance, same shape.
      x_inverse_var: `exp(-x_log_var)`, same shape as `x`; computed here by default.

    Returns:
      Scalars, in nats. `jax.vmap` adds a batch axis. It is never summed over.

    Raises:
      ArgumentTypeError: an argument is not a floating-point array.
      ArgumentError: the shapes differ.

    >>> import jax.numpy as jnp
    >>> x = jnp.ones((2, 2, 1))
    >>> terms = decompose_gaussian(x, jnp.zeros_like(x), jnp.zeros_like(x), jnp.zeros(3), jnp.zeros(3))
    >>> float(terms.d), float(terms.m)
    (0.0, 2.0)
    """
    for name, part, like in (("x_mean", x_mean, x), ("x_log_var", x_log_var, x), ("z_log_var", z_log_var, z_mean)):
        if part.shape != like.shape:
            raise ArgumentError(
                f"{argument(name)} of shape {list(part.shape)}", f"{list(like.shape)}", "take all of one image"
            )
    if x_inverse_var is None:
        # A CPU sums over a last axis of one channel element by element, ten times as slowly as over a flat array. The
        # sums were a fifth of the time of scoring 96x96 images. The barrier keeps XLA from undoing the flattening.
        # Callers that pass `x_inverse_var` use planes. Their last axis is long, so they do not need the barrier.
        x, x_mean, x_log_var = jax.lax.optimization_barrier(tuple(jnp.ravel(part) for part in (x, x_mean, x_log_var)))
        x_inverse_var = jnp.exp(-x_log_var)
    # Constants stay outside of the sums. Inside, XLA writes them out in the shape of the images and reads them again.
    return Decomposition(
        d=jnp.sum(kl_to_standard_normal(z_mean, z_log_var)),
        a=0.5 * (LOG_2PI * x.size + jnp.sum(x_log_var)),
        m=0.5 * jnp.sum(jnp.square(x - x_mean) * x_inverse_var),
    )


LETTERS = {"nelbo": "L", "d": "D", "a": "A", "m": "M"}
"""The names of the terms in the paper, for people to read."""

TERMS: tuple[Term, ...] = ("nelbo", "d", "a", "m")
"""The terms in the order of the tables."""


def check_term(term: str) -> None:
    """Refuse a name that is not a term.

    Raises:
      ArgumentError: it is not a term.

    >>> check_term("l")
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got term='l'; expected one of ['d', 'a', 'm', 'nelbo']
    """
    if term not in get_args(Term):
        raise ArgumentError(argument("term", term), f"one of {list(get_args(Term))}")
