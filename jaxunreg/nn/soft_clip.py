"""Smooth bounds on log-variances, with their inverse variances and their inverse."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# float32 reaches from exp(-87) to exp(88).
LARGEST_EXPONENT = 80.0

# The largest distance of the bounds, so that exp(high - low) is far below the largest float32.
SOFT_CLIP_MAX_WIDTH = 60.0


def soft_clip(x: Float[Array, "*shape"], low: float, high: float) -> Float[Array, "*shape"]:
    """Bound `x` smoothly to (low, high). Inside it is close to the identity, and its gradient is nowhere zero.

    `low + softplus(x' - low)` with `x' = high - softplus(high - x)`. It is computed as
    `low + log(1 + exp(high - low) / (1 + exp(high - x)))`, which is the same with half of the exponentials, for bounds
    at most `SOFT_CLIP_MAX_WIDTH` apart.

    References:
      Chua, K. et al. Deep Reinforcement Learning in a Handful of Trials using Probabilistic Dynamics Models. NeurIPS
        2018. It bounds log-variances in this way.

    >>> import jax.numpy as jnp
    >>> soft_clip(jnp.array([-1e3, 0.0, 1e3]), -10.0, 10.0).round(3).tolist()
    [-10.0, 0.0, 10.0]
    """
    return soft_clip_with_inverse(x, low, high)[0]


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def soft_clip_with_inverse(
    x: Float[Array, "*shape"], low: float, high: float
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """Return `y = soft_clip(x, low, high)` and `exp(-y)`, which needs no further exponential.

    >>> import jax.numpy as jnp
    >>> y, inverse = soft_clip_with_inverse(jnp.array([-1e3, 0.0, 1e3]), -10.0, 10.0)
    >>> bool(jnp.allclose(inverse, jnp.exp(-y)))
    True
    """
    raised = 1.0 + _lifted(_exponential(x, high), low, high)
    # Not exp(-low) in one factor: it can overflow where exp(-y) does not.
    return low + jnp.log(raised), math.exp(-high) / (raised * math.exp(low - high))


@soft_clip_with_inverse.defjvp
def _soft_clip_jvp(
    low: float, high: float, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    # sigmoid(high - x) sigmoid(x' - low). The automatic derivative would be zero from high + 17 on.
    exponential = _exponential(*primals, high)
    lifted = _lifted(exponential, low, high)
    slope = exponential * _over_one_more(1.0, exponential) * (lifted * _over_one_more(1.0, lifted))
    y, inverse = soft_clip_with_inverse(*primals, low, high)
    return (y, inverse), (slope * tangents[0], -inverse * slope * tangents[0])


def _exponential(x: Array, high: float) -> Array:
    """`exp(high - x)`."""
    # The exponent is bounded, because an infinity has no derivative.
    return jnp.exp(jnp.minimum(high - x, LARGEST_EXPONENT))


def _lifted(exponential: Array, low: float, high: float) -> Array:
    """`exp(x' - low)`."""
    # Not by a sigmoid: not every runtime computes small ones to the last digit.
    return _over_one_more(math.exp(high - low), exponential)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _over_one_more(numerator: float, x: Array) -> Array:
    """`numerator / (1 + x)`."""
    return numerator / (1.0 + x)


@_over_one_more.defjvp
def _over_one_more_jvp(numerator: float, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # The automatic derivative squares 1 + x, which overflows.
    y = _over_one_more(numerator, *primals)
    return y, -y * (_over_one_more(1.0, *primals) * tangents[0])


def inverse_soft_clip(y: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return the value that `soft_clip` bounds to `y`, after moving `y` to at least 0.05 inside of the bounds.

    >>> import numpy as np
    >>> inverse_soft_clip(np.array([-100.0, 1.0]), -10.0, 10.0).round(2).tolist()
    [-12.97, 1.0]
    """
    inside = np.clip(y, low + 0.05, high - 0.05)
    lifted = low + np.log(np.expm1(inside - low))
    return high - np.log(np.expm1(high - lifted))
