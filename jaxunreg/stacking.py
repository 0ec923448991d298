"""Large arrays made of parts that come one after another, in memory only once."""

import itertools
from collections.abc import Iterable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from jaxunreg.typing import PyTree


def stacked(parts: Iterable[PyTree], count: int) -> PyTree:
    """Stack parts like `jnp.stack`, while they are made one after another, without a list of them.

    A list and the stack together would take twice the memory. Here each part is written in place.

    Args:
      parts: pytrees of arrays, all of one structure with the same shapes and dtypes; at least one.
      count: number of parts.

    Returns:
      A pytree of arrays `[count, ...]`.

    >>> stacked(({"x": np.full(2, k, np.float32)} for k in range(3)), 3)["x"].tolist()
    [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]
    """
    rest = iter(parts)
    first = next(rest)
    total = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), first)
    for k, part in enumerate(itertools.chain([first], rest)):
        total = _put(total, part, np.int32(k))
    return total


@partial(jax.jit, donate_argnums=0)
def _put(total: PyTree, part: PyTree, k: Array | np.integer) -> PyTree:
    return jax.tree.map(lambda whole, one: lax.dynamic_update_index_in_dim(whole, one, k, axis=0), total, part)
