"""The inverse of many triangular matrices by matrix products.

On a CPU, `jax.lax.linalg.triangular_solve` calls BLAS for each matrix of a batch. For 152x152 and an identity on the
right, that takes 28 ms a matrix on two busy cores. The method below takes 0.25 ms in the same run.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

# Size of the blocks on the diagonal, which are inverted row by row, all at once.
_LARGEST_BLOCK = 10


def inverse_lower(lower: Float[Array, "*batch n n"]) -> Float[Array, "*batch n n"]:
    """Return the inverse of lower triangular matrices.

    It applies `[[A, 0], [B, C]]^-1 = [[A^-1, 0], [-C^-1 B A^-1, C^-1]]` to small blocks on the diagonal, then to pairs
    of blocks, and to pairs of pairs.

    Args:
      lower: lower triangular with a positive diagonal, floating point.

    Returns:
      Lower triangular matrices, same shape and dtype.

    >>> import jax.numpy as jnp
    >>> inverse_lower(jnp.array([[2.0, 0.0], [1.0, 1.0]])).tolist()
    [[0.5, 0.0], [-0.5, 1.0]]
    """
    size = lower.shape[-1]
    count = 1
    while -(-size // count) > _LARGEST_BLOCK:
        count *= 2
    block = -(-size // count)
    padded = _pad_with_identity(lower, block * count)
    inverse = _substitute(_diagonal_blocks(padded, block))
    while count > 1:
        below = _diagonal_blocks(padded, 2 * block)[..., block:, :block]
        first, last = inverse[..., 0::2, :, :], inverse[..., 1::2, :, :]
        between = -last @ (below @ first)
        upper = jnp.concatenate([first, jnp.zeros_like(first)], axis=-1)
        inverse = jnp.concatenate([upper, jnp.concatenate([between, last], axis=-1)], axis=-2)
        block, count = 2 * block, count // 2
    return inverse[..., 0, :size, :size]


def _pad_with_identity(lower: Array, size: int) -> Array:
    more = size - lower.shape[-1]
    ones = jnp.diag((jnp.arange(size) >= lower.shape[-1]).astype(lower.dtype))
    padded = jnp.pad(lower, (*((0, 0) for _ in lower.shape[:-2]), (0, more), (0, more)))
    return padded + jnp.broadcast_to(ones, padded.shape)


def _diagonal_blocks(matrix: Array, block: int) -> Array:
    """Return the blocks on the diagonal: `[..., n, n]` to `[..., n / block, block, block]`."""
    starts = range(0, matrix.shape[-1], block)
    return jnp.stack([matrix[..., k : k + block, k : k + block] for k in starts], axis=-3)


def _substitute(lower: Array) -> Array:
    size = lower.shape[-1]

    def next_row(k: Array, inverse: Array) -> Array:
        # Rows from k on are still zero.
        known = lax.dynamic_index_in_dim(lower, k, axis=-2, keepdims=False)
        unit = jnp.broadcast_to((jnp.arange(size) == k).astype(lower.dtype), known.shape)
        row = (unit - jnp.sum(known[..., None] * inverse, axis=-2)) / lax.dynamic_index_in_dim(known, k, axis=-1)
        return lax.dynamic_update_index_in_dim(inverse, row, k, axis=-2)

    return lax.fori_loop(0, size, next_row, jnp.zeros_like(lower))
