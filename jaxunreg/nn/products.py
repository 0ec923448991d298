"""Matrix products in float32 or wider."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array


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
