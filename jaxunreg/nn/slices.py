"""Cut out, pad and add parts of arrays, in operations whose transposes are as fast."""

from collections.abc import Sequence

import numpy as np
from jax import lax
from jaxtyping import Array


def unstack(x: Array, axis: int) -> list[Array]:
    """Return the slices of `x` along an axis, without that axis."""
    # By `split` and not by slices: the transpose of `split` joins its parts, while the transpose of slices adds padded
    # arrays.
    return [lax.squeeze(part, (axis,)) for part in lax.split(x, (1,) * x.shape[axis], axis=axis)]


def add_shifted(x: Array, y: Array, axis: int) -> Array:
    """Return `x` plus `y` shifted by one along an axis. The result is longer by one along that axis."""
    return lax.add(pad(x, axis, 0, 1), pad(y, axis, 1, 0))


def pad(x: Array, axis: int, before: int, after: int) -> Array:
    """Pad one axis with zeros at both ends."""
    return pad_ends(x, [(before, after) if index == axis else (0, 0) for index in range(x.ndim)])


def pad_ends(x: Array, widths: Sequence[tuple[int, int]]) -> Array:
    """Pad every axis with zeros at both ends. It is traced several times as fast as `jnp.pad`."""
    return lax.pad(x, np.zeros((), x.dtype), [(before, after, 0) for before, after in widths])
