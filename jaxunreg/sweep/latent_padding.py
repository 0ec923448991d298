"""Arrays of a model of one latent size as those of another."""

from typing import Any

import jax
import numpy as np

from jaxunreg.typing import PyTree


def resized(tree: PyTree, like: PyTree, old: int, new: int) -> PyTree:
    """Arrays of one latent size as those of another: padded with zeros, or cut.

    An axis that grows with the latent size is one or several blocks of it (mean and log-variance are two), each of
    which is padded or cut.

    Args:
      tree: NumPy arrays.
      like: a tree of the shapes wanted.
      old: latent size of `tree`.
      new: latent size of `like`.
    """

    def resize(leaf: np.ndarray, wanted: Any) -> np.ndarray:
        for axis, length in enumerate(wanted.shape):
            if leaf.shape[axis] != length:
                before, after = leaf.shape[:axis], leaf.shape[axis + 1 :]
                blocks = leaf.reshape(*before, -1, old, *after)
                grown = np.zeros((*before, length // new, new, *after), leaf.dtype)
                both = (slice(None),) * (axis + 1) + (slice(min(old, new)),)
                grown[both] = blocks[both]
                leaf = grown.reshape(*before, length, *after)
        return leaf

    return jax.tree.map(resize, tree, like)
