"""Gaussians fitted to the features of normal images."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.features.moments import (
    AnyFeatureMaps,
    Moments,
    as_array,
    checked_rows,
    log_normalizer_of,
    moments_of_all,
    moments_of_row,
    shrunk,
    total_of,
    upper_factor,
)
from jaxunreg.features.network import FeatureError
from jaxunreg.features.whitening import Whitening, WhiteningConfig
from jaxunreg.signatures import checked
from jaxunreg.stacking import stacked


@checked
def fit_whitening(features: AnyFeatureMaps, config: WhiteningConfig) -> Whitening:
    """Fit Gaussians to the features of normal images.

    Means and covariances are unbiased estimates, regularised by `RIDGE`. The fit goes row by row over the map, so it
    needs little more memory than the result: `features^2 + features` numbers a place, in float32.

    Args:
      features: `[images, rows, columns, features]`.
      config: the config of the Gaussian.

    Returns:
      The whitening, a pure function of one map.

    Raises:
      FeatureError: the features hold NaN or infinity or do not vary, or there are too few images or places for a
        covariance.

    >>> import jax.numpy as jnp, numpy as np
    >>> features = np.random.default_rng(0).normal(size=(20, 4, 6, 3)).astype(np.float32)
    >>> whitening = fit_whitening(features, WhiteningConfig(per_place=True, shrinkage=0.5))
    >>> whitening(jnp.asarray(features[0])).m.shape
    (4, 6)
    """
    shared = moments_of_all(features, config.per_place)
    if not config.per_place:
        return one_place(shared)
    if config.shrinkage == 1.0:
        mean = jnp.stack([jnp.mean(row, axis=1) for row in checked_rows(features)])
        return dataclasses.replace(one_place(shared), mean=mean)
    rows = (_fit_row(row, shared.covariance, as_array(config.shrinkage)) for row in checked_rows(features))
    mean, factor, log_normalizer = stacked(rows, features.shape[1])
    return Whitening(mean, factor, jnp.ones((1, 1), jnp.float32), log_normalizer)


@checked
def inflate(whitening: Whitening, held_out: AnyFeatureMaps, *, prior_images: float = 20.0) -> Whitening:
    """Widen each Gaussian by its distances on normal images outside of its fit.

    A covariance is too small for images outside of its fit, at some places more than at others. `Sigma` is multiplied
    by `t^2`, the mean of `2 M / features` over held-out images. M is divided by `t^2`, and A grows by `features log t`.
    So it stays a density, and the nats of further images say whether it is better.

    Args:
      whitening: from `fit_whitening`.
      held_out: features of other normal images, `[images, rows, columns, features]`.
      prior_images: number of images that are added to those of each place, with the mean of `M` over all places. It has
        no effect with one Gaussian for all places.

    Raises:
      ArgumentError: `prior_images` is negative or not finite.
      FeatureError: no images, NaN or infinity, or maps that do not fit the whitening.

    >>> import jax.numpy as jnp, numpy as np
    >>> maps = np.random.default_rng(0).normal(size=(9, 4, 6, 3)).astype(np.float32)
    >>> whitening = fit_whitening(maps[:4], WhiteningConfig(per_place=True, shrinkage=0.5))
    >>> wider = inflate(whitening, maps[4:])
    >>> bool(jnp.all(wider.scale > 1.0))
    True
    """
    if not 0.0 <= prior_images < float("inf"):
        raise ArgumentError(argument("prior_images", prior_images), "a finite number that is not negative")
    if len(held_out) == 0:
        raise FeatureError("no held-out images", "at least 1", "hold out normal images")
    for _ in checked_rows(held_out):  # This refuses NaN and infinity.
        pass
    total = total_of(_m_of_map(whitening, jnp.asarray(features, jnp.float32)) for features in held_out)
    ratio = 2.0 * total / whitening.mean.shape[2]
    common = jnp.mean(ratio, keepdims=True) / len(held_out)
    squared = (ratio + prior_images * common) / (len(held_out) + prior_images) if whitening.per_place else common
    return whitening.widened(squared)


@jax.jit
def _fit_row(row: Array, shared: Array, shrinkage: Array) -> tuple[Array, Array, Array]:
    moments = moments_of_row(row)
    lower = jnp.linalg.cholesky(shrunk(moments.covariance, shared, shrinkage))
    return moments.mean, upper_factor(lower), log_normalizer_of(lower)


@jax.jit
def one_place(moments: Moments) -> Whitening:
    """Return the whitening as one that is the same at all places."""
    lower = jnp.linalg.cholesky(moments.covariance)
    one = jnp.ones((1, 1), jnp.float32)
    return Whitening(
        moments.mean[None, None], upper_factor(lower)[None, None], one, log_normalizer_of(lower)[None, None]
    )


@jax.jit
def _m_of_map(whitening: Whitening, features: Array) -> Array:
    return jnp.asarray(whitening(features).m)
