"""The selection of one step's images inside the compiled program."""

import jax.numpy as jnp
from jaxtyping import Array, Int


def select(source: Array, indices: Int[Array, "..."], shape: tuple[int, ...]) -> Array:
    """Select one step's images, inside the compiled program.

    Args:
      source: whole images `[N, height, width, channels]`; the pixels of all images one after another
        `[pixels, channels]`; or the batches of some steps `[steps, batch, height, width, channels]`.
      indices: rows of `source`, `[batch]`; for each crop its first pixel and the width of its image, `[batch, 2]`; or
        the number of a batch, a scalar.
      shape: shape of one image of the batch.

    Returns:
      `[batch, height, width, channels]`.

    >>> import jax.numpy as jnp
    >>> pixels = jnp.arange(12).reshape(12, 1)  # one image, 3 rows of 4
    >>> select(pixels, jnp.array([[5, 4]]), (2, 2, 1))[0, :, :, 0].tolist()
    [[5, 6], [9, 10]]
    """
    if indices.ndim < 2:
        return source[indices]
    first, width = indices[:, :1], indices[:, 1:]
    rows = first + width * jnp.arange(shape[0], dtype=indices.dtype).reshape(1, -1)
    return source[rows[:, :, None] + jnp.arange(shape[1], dtype=indices.dtype).reshape(1, 1, -1)]
