"""Fast rounding to bfloat16 on a CPU, by moving the halves of float32.

On a CPU, XLA converts float32 to bfloat16 in nine operations on the bits, a third of them for the sake of NaN, and
hands the rounded numbers from loop to loop as float32. The upper half of a float32 is a bfloat16. As an integer it can
be rounded in two operations (five with ties to even), and XLA keeps it narrow.

Every float32 becomes the nearest bfloat16, a number beyond the largest bfloat16 becomes an infinity, and a NaN stays a
NaN. The exceptions are bits that no arithmetic makes: signalling NaN, and NaN with the eight highest bits of the
fraction set.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, UInt16

T = TypeVar("T")

# Half of a unit in the last place of a bfloat16.
_HALF = 0x8000


def to_halves(x: Float[Array, "*shape"]) -> UInt16[Array, "*shape"]:
    """Return the bits of `x` rounded to bfloat16, ties away from zero.

    Args:
      x: a float32 array.

    >>> import jax.numpy as jnp
    >>> [hex(bits) for bits in to_halves(jnp.array([1.0, 1.0 + 2.0**-8])).tolist()]
    ['0x3f80', '0x3f81']
    """
    return _upper(lax.bitcast_convert_type(x, jnp.uint32) + jnp.uint32(_HALF))


def from_halves(bits: UInt16[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return the float32 that the bits of a bfloat16 stand for.

    >>> import jax.numpy as jnp
    >>> from_halves(jnp.array([0x3F80, 0x3F81], jnp.uint16)).tolist()
    [1.0, 1.0078125]
    """
    return lax.bitcast_convert_type(bits.astype(jnp.uint32) << jnp.uint32(16), jnp.float32)


def cast(x: Array, dtype: DTypeLike) -> Array:
    """Return `x.astype(dtype)`, but faster from float32 to bfloat16. Ties go to even.

    Ties are frequent in sums of numbers that are rounded already. If ties went away from zero, such sums would grow.

    >>> import jax.numpy as jnp
    >>> cast(jnp.array([1.0 + 2.0**-8, 1.0 + 3 * 2.0**-8]), jnp.bfloat16).tolist()
    [1.0, 1.015625]
    """

    def plain(x: Array) -> Array:
        return x.astype(dtype)

    return straight_through(_to_even, plain, x) if narrows(x, dtype) else plain(x)


def narrows(x: Array, dtype: DTypeLike) -> bool:
    """Return whether `x.astype(dtype)` is from float32 to bfloat16."""
    return x.dtype == jnp.float32 and jnp.dtype(dtype) == jnp.bfloat16


def move(function: Callable[..., Array], parts: tuple[Array, ...], dtype: DTypeLike) -> Array:
    """Return `function` of the parts rounded to `dtype`, ties away from zero. It may only move elements and add zeros.

    >>> import jax.numpy as jnp
    >>> move(lambda x: jnp.pad(x, 1), (jnp.array([0.5]),), jnp.bfloat16).tolist()
    [0.0, 0.5, 0.0]
    """
    plain = partial(_move_rounded, function, dtype)
    if not narrows(parts[0], dtype):
        return plain(*parts)
    return straight_through(partial(_move_halves, function), plain, *parts)


def stack(parts: list[Array], axis: int, dtype: DTypeLike) -> Array:
    """Return `jnp.stack(parts, axis)` with values rounded to `dtype`, ties away from zero, but not the derivative.

    >>> import jax.numpy as jnp
    >>> stack([jnp.array([1.0]), jnp.array([1.0 + 2.0**-9])], 0, jnp.bfloat16).tolist()
    [[1.0], [1.0]]
    """

    def halves(*parts: Array) -> Array:
        return from_halves(jnp.stack([to_halves(part) for part in parts], axis))

    def plain(*parts: Array) -> Array:
        return jnp.stack(parts, axis)

    return straight_through(halves, plain, *parts) if narrows(parts[0], dtype) else plain(*parts)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def straight_through(halves: Callable[..., T], plain: Callable[..., T], *parts: Array) -> T:
    """Return `halves(*parts)` with the derivative of `plain`, since bits have none.

    Args:
      halves: a function that rounds by the halves of float32.
      plain: the linear function that it rounds.
      parts: float32 arrays.

    >>> import jax, jax.numpy as jnp
    >>> def halves(x):
    ...     return from_halves(to_halves(3.0 * x))
    >>> jax.jvp(lambda x: straight_through(halves, lambda x: 3.0 * x, x), (jnp.ones(()),), (jnp.ones(()),))
    (Array(3., dtype=float32), Array(3., dtype=float32))
    """
    return halves(*parts)


@straight_through.defjvp
def _straight_through_jvp(
    halves: Callable[..., T], plain: Callable[..., T], primals: tuple[Array, ...], tangents: tuple[Array, ...]
) -> tuple[T, T]:
    return straight_through(halves, plain, *primals), plain(*tangents)


def _move_halves(function: Callable[..., Array], *parts: Array) -> Array:
    return lax.bitcast_convert_type(function(*map(to_halves, parts)), jnp.bfloat16)


def _move_rounded(function: Callable[..., Array], dtype: DTypeLike, *parts: Array) -> Array:
    return function(*(part.astype(dtype) for part in parts))


def _to_even(x: Array) -> Array:
    bits = lax.bitcast_convert_type(x, jnp.uint32)
    odd = (bits >> jnp.uint32(16)) & jnp.uint32(1)
    return lax.bitcast_convert_type(_upper(bits + jnp.uint32(_HALF - 1) + odd), jnp.bfloat16)


def _upper(bits: Array) -> Array:
    return (bits >> jnp.uint32(16)).astype(jnp.uint16)
