"""Models of several latent sizes as one model: arrays padded with zeros, and a latent space that masks the padding."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Int

from jaxunreg.models.latent_space import Gaussian, LatentSpace
from jaxunreg.typing import Latents, PRNGKey, PyTree, Variables


class PaddedLatentSpace(LatentSpace):
    """A latent space in which only the first dimensions exist. Their number is a variable that may be traced.

    If that variable is n and the weights are those of a model with `latent_dim=n`, padded with zeros, every method
    gives exactly what that model gives. So members of several latent sizes share one program.
    """

    def restrict(self, posterior: Gaussian) -> Gaussian:
        """Return the posterior, with N(0, 1) in the padding, which has D = 0 and no gradient."""
        used = self._used(posterior.mean.shape[-1])
        return Gaussian(jnp.where(used, posterior.mean, 0.0), jnp.where(used, posterior.log_var, 0.0))

    def noise(self, key: PRNGKey, shape: tuple[int, ...], dtype: DTypeLike) -> Latents:
        """Return the noise of the model of the smaller latent size, with zeros in the padding."""
        # A draw of n numbers is the first n of any longer draw (with JAX's default, partitionable generator), but
        # [batch, n] is not the first n columns of a wider array. So the rows are cut from one long draw.
        batch, latent = shape
        rows = jnp.arange(batch).reshape(-1, 1) * self._size(latent)
        flat = jax.random.normal(key, (batch * latent,), dtype)
        return jnp.where(self._used(latent), flat[rows + jnp.arange(latent).reshape(1, -1)], 0.0)

    def _used(self, latent: int) -> Bool[Array, "1 latent"]:
        return (jnp.arange(latent) < self._size(latent)).reshape(1, -1)

    def _size(self, latent: int) -> Int[Array | np.ndarray, ""]:
        if self.is_initializing() and not self.has_variable("latent", "size"):
            self.put_variable("latent", "size", jnp.asarray(latent, jnp.int32))
        return self.get_variable("latent", "size")


def with_latent_size(variables: Variables, sizes: Int[Array | np.ndarray, "*members"]) -> Variables:
    """Return the padded variables of a model with a `PaddedLatentSpace`, with the number of existing dimensions."""
    return {**variables, "latent": {"latent_space": {"size": sizes}}}


def resized(tree: PyTree, like: PyTree, old: int, new: int) -> PyTree:
    """Convert arrays of one latent size to another: pad them with zeros, or cut them.

    An axis that grows with the latent size has one or several blocks of it (mean and log-variance are two). Each block
    is padded or cut.

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
