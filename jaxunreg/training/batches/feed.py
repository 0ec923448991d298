"""How images and indices reach the devices."""

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from jaxunreg.padding import filled
from jaxunreg.parallel.mesh import own_columns, replicate, split_columns


class Feed:
    """Puts the arguments of `select` on the default device, or over a mesh.

    Args:
      mesh: the devices over which each batch is split; None for the default device.
      batch_size: images a step.
      a_dispatch: number of steps to which every call is filled up.

    Attributes:
      batch_size: as above.
      a_dispatch: as above.
      own: the part of a batch that is on this process's devices.
    """

    def __init__(self, mesh: Mesh | None, batch_size: int, a_dispatch: int) -> None:
        self.batch_size, self.a_dispatch = batch_size, a_dispatch
        self.own = slice(0, batch_size) if mesh is None else own_columns(mesh, batch_size)
        self._mesh = mesh

    def resident(self, source: Array | np.ndarray) -> Array:
        """Copy an array to each device, where it stays."""
        return jnp.asarray(source) if self._mesh is None else replicate(source, self._mesh)

    def rows(self, source: Array, indices: np.ndarray) -> tuple[Array, Array | np.ndarray]:
        """Return what `Batches.steps` returns if `indices`, `[steps, batch, ...]`, point into a resident array."""
        indices = filled(indices, self.a_dispatch)
        return source, indices if self._mesh is None else self._split(indices[:, self.own])

    def batches(self, images: np.ndarray) -> tuple[Array, np.ndarray]:
        """Return what `Batches.steps` returns if the images are sent: this process's own, `[steps, own, ...]`."""
        images = filled(images, self.a_dispatch)
        if self._mesh is not None:
            return self._split(images), np.arange(self.a_dispatch, dtype=np.int32)
        # Gathered in the same way as from images on the device, so that the program rounds alike.
        indices = np.arange(self.a_dispatch * self.batch_size, dtype=np.int32).reshape(self.a_dispatch, -1)
        return jnp.asarray(images.reshape(-1, *images.shape[2:])), indices

    def _split(self, columns: np.ndarray) -> Array:
        assert self._mesh is not None
        return split_columns(columns, self._mesh, self.batch_size)
