"""Several levels of a network as one map: averaged over 3x3, resized to the finest grid, and joined."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxunreg.features.network import FeatureMaps


def join_levels(levels: Sequence[Float[Array, "batch _ _ _"]]) -> FeatureMaps:
    """Average each level over neighbouring places, and concatenate all levels on the grid of the first.

    These are the patch features of PatchCore with a neighbourhood of 3x3. Coarser levels are resized bilinearly, and
    the channels of all levels are concatenated.

    Args:
      levels: maps `[batch, rows, columns, channels]`, the finest first.

    Returns:
      `[batch, rows, columns, channels]` with the first level's grid and the channels of all levels.

    References:
      Roth, K. et al. Towards Total Recall in Industrial Anomaly Detection. CVPR 2022.

    >>> import jax.numpy as jnp
    >>> join_levels([jnp.ones((1, 4, 6, 40)), jnp.ones((1, 2, 3, 112))]).shape
    (1, 4, 6, 152)
    """
    rows, columns = levels[0].shape[1:3]
    return jnp.concatenate([resize(average_3x3(level), rows, columns) for level in levels], axis=3)


def average_3x3(maps: FeatureMaps) -> FeatureMaps:
    """Return the mean of each place and its neighbours. At the border it is the mean of those that exist.

    >>> import jax.numpy as jnp
    >>> average_3x3(jnp.arange(3.0).reshape(1, 1, 3, 1)).ravel().tolist()
    [0.5, 1.0, 1.5]
    """
    for axis in (1, 2):
        maps = _average_3(maps, axis)
    return maps


def _average_3(maps: FeatureMaps, axis: int) -> FeatureMaps:
    length = maps.shape[axis]
    border = [(int(axis == k), int(axis == k)) for k in range(4)]
    padded = jnp.pad(maps, border)
    total = sum(
        (lax.slice_in_dim(padded, k, k + length, axis=axis) for k in (1, 2)),
        start=lax.slice_in_dim(padded, 0, length, axis=axis),
    )
    inside = np.minimum(np.arange(length), 1) + 1 + np.minimum(np.arange(length)[::-1], 1)
    shape = [1] * 4
    shape[axis] = length
    return total * jnp.asarray((1.0 / inside).reshape(shape), maps.dtype)


def resize(
    maps: Float[Array, "batch height width features"], rows: int, columns: int
) -> Float[Array, "batch {rows} {columns} features"]:
    """Interpolate bilinearly between the centres of places, like PyTorch's `interpolate` with `align_corners=False`.

    >>> import jax.numpy as jnp
    >>> resize(jnp.array([0.0, 4.0]).reshape(1, 1, 2, 1), 1, 4).ravel().tolist()
    [0.0, 1.0, 3.0, 4.0]
    """
    if maps.shape[1:3] == (rows, columns):
        return maps
    for axis, (before, after) in enumerate(zip(maps.shape[1:3], (rows, columns), strict=True), start=1):
        weights = jnp.asarray(_weights(before, after), maps.dtype)
        mixed = lax.dot_general(maps, weights, (((axis,), (1,)), ((), ())), precision=lax.Precision.HIGHEST)
        maps = jnp.moveaxis(mixed, 3, axis)
    return maps


def _weights(before: int, after: int) -> Float[np.ndarray, "{after} {before}"]:
    """Return the share of each old place in each new place, along an axis.

    `jax.image.resize` does the same, but it takes no batch of a symbolic size, as in an export.
    """
    centers = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    return np.maximum(0.0, 1.0 - np.abs(centers[:, None] - np.arange(before)[None]))
