"""Matrix products in float32 or wider."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.export import is_symbolic_dim
from jaxtyping import Array

from jaxunreg.typing import Length


def accumulator(x: Array) -> jnp.dtype:
    """Return the dtype in which products of an array are added up: float32, or the array's own if that is wider."""
    return jnp.dtype(jnp.float32) if x.dtype.itemsize < 4 else x.dtype


def product(a: Array, b: Array) -> Array:
    """Return the matrix product, in float32 or wider."""
    return lax.dot(a, b, preferred_element_type=accumulator(a))


def product_of_rows(a: Array, b: Array) -> Array:
    """Return `a . b^T`, in float32 or wider. With `b.T`, XLA would write out the transposed array.

    With the weights as the left operand, the products are planes. Sums then run over neighbours in memory, but the
    gradients are slower than those of `product`.
    """
    return lax.dot_general(a, b, (((1,), (1,)), ((), ())), preferred_element_type=accumulator(a))


def weights(matrices: Array, rows: Length) -> Array:
    """Return right operands of products, unchanged, so that a CPU computes their gradient faster.

    The gradient is the product of the left operand, transposed, and the cotangent. A CPU is faster with the wider of
    the two on the right, unless there are so few rows that the result takes longer to transpose.

    Args:
      matrices: `[..., size, columns]`.
      rows: how many rows the left operand has, `[..., rows, size]`.
    """
    size, columns = matrices.shape[-2:]
    return _transposed_gradient(matrices) if not is_symbolic_dim(rows) and columns < size < rows else matrices


@jax.custom_jvp
def _transposed_gradient(matrices: Array) -> Array:
    return matrices


@_transposed_gradient.defjvp
def _transposed_gradient_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # Without the barrier, XLA would undo it.
    transposed = lax.optimization_barrier(jnp.matrix_transpose(tangents[0]))
    return _transposed_gradient(*primals), jnp.matrix_transpose(transposed)
