"""Means and covariances of maps of features, one row of the map at a time."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxunreg.decomposition import LOG_2PI
from jaxunreg.features.network import FeatureError
from jaxunreg.features.triangular import inverse_lower
from jaxunreg.masked import check_unmasked

# Added to each variance, relative to the mean variance of a channel. It keeps the Cholesky factor of float32 positive
# if channels are copies of each other or never active.
RIDGE = 1e-5

AnyFeatureMaps = Float[Array | np.ndarray, "images rows columns features"]
"""Maps of several images; may be float16 or a memory-mapped file."""

HeldOutMaps = Float[Array | np.ndarray, "held_out ..."]
"""Maps of other images, `[images, rows, columns, features]`, of any number."""


class Moments(NamedTuple):
    """A mean `[..., features]` and a covariance `[..., features, features]`, with or without axes of places."""

    mean: Array
    covariance: Array


def as_array(number: float) -> Array:
    """Return a number as a float32 scalar, so that another number compiles nothing."""
    return jnp.asarray(number, jnp.float32)


def checked_rows(features: Array | np.ndarray) -> Iterator[Array]:
    """Yield each row of the map for all images, places first: `[columns, images, features]` in float32, checked."""
    check_unmasked(features, "features")
    for k in range(features.shape[1]):
        row = np.asarray(features[:, k])
        if not np.isfinite(row).all():
            image, column, _ = np.argwhere(~np.isfinite(row))[0]
            raise FeatureError(
                f"features with NaN or infinity, first in image {image} at row {k}, column {column}",
                "finite numbers",
                "look at that image and at the feature network; float16 ends at 65504",
            )
        yield jnp.asarray(row.transpose(1, 0, 2), jnp.float32)


def unlike_fitted(features: AnyFeatureMaps, held_out: HeldOutMaps) -> FeatureError:
    """Return the error for held-out maps that are missing, or whose shape differs from the maps of the fit."""
    return FeatureError(
        f"held-out features of shape {list(held_out.shape)}",
        f"{['images', *features.shape[1:]]}, as those to fit to".replace("'", ""),
        "pass at least one image, through the same network at the same size",
    )


def moments_of_all(features: AnyFeatureMaps, per_place: bool) -> Moments:
    """Return mean and covariance for all places; with `per_place`, of the residuals from the mean of each place."""
    images, height, width, channels = features.shape
    if images < 2:
        raise FeatureError(f"{images} images to fit to", "at least 2", "add normal images")
    places = height * width
    free = (images - 1) * places if per_place else images * places - 1
    if free < channels:
        raise FeatureError(
            f"{images} images with maps of {height}x{width}, too few for a covariance of {channels} features",
            f"at least {channels} independent places in all; there are {free}",
            "add normal images, or enlarge them",
        )
    if per_place:
        mean = jnp.zeros(channels, jnp.float32)
        scatter = total_of(_scatter_of_row(row) for row in checked_rows(features))
    else:
        mean = total_of(jnp.sum(row, axis=(0, 1)) for row in checked_rows(features)) / (images * places)
        scatter = total_of(_scatter_around(row, mean) for row in checked_rows(features))
    covariance = scatter / free
    ridge = RIDGE * float(jnp.trace(covariance)) / channels
    if ridge == 0.0:
        raise FeatureError(
            f"features of {images} images that do not vary", "normal images that differ", "pass different images"
        )
    return Moments(mean, covariance + ridge * jnp.eye(channels, dtype=jnp.float32))


def total_of(parts: Iterator[Array]) -> Array:
    """Return the sum of arrays that come one after another."""
    return functools.reduce(jnp.add, parts)


@jax.jit
def _scatter_of_row(row: Array) -> Array:
    residual = row - jnp.mean(row, axis=1, keepdims=True)
    return jnp.einsum("pnc,pnd->cd", residual, residual)


@jax.jit
def _scatter_around(row: Array, mean: Array) -> Array:
    residual = row - mean.reshape(1, 1, -1)
    return jnp.einsum("pnc,pnd->cd", residual, residual)


@jax.jit
def moments_of_row(row: Array) -> Moments:
    """Return the unbiased mean and covariance of each place of a row, over images."""
    mean = jnp.mean(row, axis=1)
    residual = row - mean[:, None]
    return Moments(mean, jnp.swapaxes(residual, 1, 2) @ residual / (row.shape[1] - 1))


def shrunk(covariance: Array, shared: Array, shrinkage: Array) -> Array:
    """Return `(1 - s) S_place + s S_all` for each place of a row, regularised by `RIDGE`."""
    # The shared covariance already has its ridge, and a place needs one for its own share.
    channels = shared.shape[0]
    ridge = (1.0 - shrinkage) * RIDGE * jnp.trace(shared) / channels
    return (
        (1.0 - shrinkage) * covariance + shrinkage * shared[None] + ridge * jnp.eye(channels, dtype=shared.dtype)[None]
    )


def upper_factor(lower: Array) -> Array:
    """Return `U = L^-T` of `Sigma = L L^T`, so that `U U^T = Sigma^-1`."""
    return jnp.swapaxes(inverse_lower(lower), -1, -2)


def log_normalizer_of(lower: Array) -> Array:
    """Return `1/2 log det(2 pi Sigma)` of `Sigma = L L^T`."""
    diagonal = jnp.diagonal(lower, axis1=-2, axis2=-1)
    return 0.5 * LOG_2PI * lower.shape[-1] + jnp.sum(jnp.log(diagonal), axis=-1)
