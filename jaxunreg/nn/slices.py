"""Parts of arrays cut out, padded and added, in operations whose transposes are as fast."""

from collections.abc import Sequence

import numpy as np
from jax import lax
from jaxtyping import Array


def unstack(x: Array, axis: int) -> list[Array]:
    """The slices of `x` along an axis, which is dropped."""
    # Split and not sliced: the transpose of `split` joins its parts, that of slices adds padded arrays.
    return [lax.squeeze(part, (axis,)) for part in lax.split(x, (1,) * x.shape[axis], axis=axis)]


def add_shifted(x: Array, y: Array, axis: int) -> Array:
    """`x` plus `y` moved on by one along an axis, which grows by one."""
    return lax.add(pad(x, axis, 0, 1), pad(y, axis, 1, 0))


def pad(x: Array, axis: int, before: int, after: int) -> Array:
    """Zeros at both ends of one axis."""
    return pad_ends(x, [(before, after) if index == axis else (0, 0) for index in range(x.ndim)])


def pad_ends(x: Array, widths: Sequence[tuple[int, int]]) -> Array:
    """Zeros at both ends of every axis, as by `jnp.pad`, which takes several times as long to trace."""
    return lax.pad(x, np.zeros((), x.dtype), [(before, after, 0) for before, after in widths])
