"""Principal components of whole whitened maps, one row of the map at a time."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float16, Float64

from jaxunreg.features.moments import AnyFeatureMaps, checked_rows
from jaxunreg.features.whitening import Whitening


class Projected(NamedTuple):
    """Whitened maps, projected on components.

    Attributes:
      latent: `W y` of each image.
      energy: `|y|^2` of each image.
    """

    latent: Float64[np.ndarray, "images latent_dim"]
    energy: Float64[np.ndarray, " images"]


def whitened_rows(whitening: Whitening, features: AnyFeatureMaps) -> Iterator[Float[Array, "images columns features"]]:
    """Yield the whitened residuals of each row of the map, for all images.

    Raises:
      FeatureError: NaN or infinity.
    """
    for k, row in enumerate(checked_rows(features)):
        yield _whitened(whitening.row(k), row)


@jax.jit
def _whitened(whitening: Whitening, row: Array) -> Array:
    return jax.vmap(whitening.whiten)(jnp.swapaxes(row, 0, 1)[:, None])[:, 0]


def principal_components(
    whitening: Whitening, features: AnyFeatureMaps, count: int
) -> Float16[np.ndarray, "components rows columns features"]:
    """Return the directions in which whitened maps of images vary most, orthonormal, in decreasing order.

    They come from the inner products of images, because there are far fewer images than numbers in a map. No mean is
    subtracted, because the whitening has done so.

    Args:
      whitening: of the features.
      features: of the images, `[images, rows, columns, features]`.
      count: number of directions. It is limited to those that vary, to the number of images minus one, and to half the
        numbers of a map.

    Raises:
      FeatureError: NaN or infinity.
    """
    images = len(features)
    products = np.zeros((images, images))
    for row in whitened_rows(whitening, features):
        products += np.asarray(_products(row), np.float64)
    values, vectors = np.linalg.eigh(products)
    order = np.argsort(values)[::-1][: min(count, images - 1, math.prod(features.shape[1:]) // 2)]
    order = order[values[order] > 1e-6 * values[-1]]
    mixing = jnp.asarray(vectors[:, order] / np.sqrt(values[order]), jnp.float32)
    # Written in place: a list of rows and their stack would take twice the memory.
    components = np.empty((len(order), *features.shape[1:]), np.float16)
    for k, row in enumerate(whitened_rows(whitening, features)):
        components[:, k] = _mixed(mixing, row)
    return components


@jax.jit
def _products(row: Array) -> Array:
    flat = row.reshape(row.shape[0], -1)
    return flat @ flat.T


@jax.jit
def _mixed(mixing: Array, row: Array) -> Array:
    return jnp.einsum("nk,ncf->kcf", mixing, row).astype(jnp.float16)


def project(
    whitening: Whitening, components: Float16[np.ndarray, "components rows columns features"], features: AnyFeatureMaps
) -> Projected:
    """Return latent values and energies of images.

    Raises:
      FeatureError: NaN or infinity.
    """
    latent, energy = np.zeros((len(features), len(components))), np.zeros(len(features))
    for k, row in enumerate(whitened_rows(whitening, features)):
        some, squares = _projected(row, jnp.asarray(components[:, k]))
        latent += np.asarray(some, np.float64)
        energy += np.asarray(squares, np.float64)
    return Projected(latent, energy)


@jax.jit
def _projected(row: Array, components: Array) -> tuple[Array, Array]:
    return jnp.einsum("ncf,kcf->nk", row, components.astype(jnp.float32)), jnp.sum(jnp.square(row), axis=(1, 2))


def energies_of_places(
    whitening: Whitening,
    components: Float16[np.ndarray, "components rows columns features"],
    latent_means: Float64[np.ndarray, "images components"],
    features: AnyFeatureMaps,
) -> Float64[np.ndarray, "images rows columns"]:
    """Return the squared length of each place's residual after the components.

    Args:
      whitening: of the features.
      components: `W`.
      latent_means: how much of each component is subtracted.
      features: of the images.

    Raises:
      FeatureError: NaN or infinity.
    """
    means = jnp.asarray(latent_means, jnp.float32)
    rows = [
        np.asarray(_left(row, jnp.asarray(components[:, k]), means), np.float64)
        for k, row in enumerate(whitened_rows(whitening, features))
    ]
    return np.stack(rows, axis=1)


@jax.jit
def _left(row: Array, components: Array, means: Array) -> Array:
    left = row - jnp.einsum("nk,kcf->ncf", means, components.astype(jnp.float32))
    return jnp.sum(jnp.square(left), axis=2)
