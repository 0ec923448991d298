"""The transposed convolution as a matrix product whose results are added where they overlap.

This is the transpose of im2col, done along one axis after the other. Output columns 2j - 1 and 2j form a pair: they
take the kernel's columns 0 and 1 from pixel j, and columns 2 and 3 from the pixel before.
"""

import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array

from jaxunreg.nn import rounding, slices
from jaxunreg.nn.products import product, product_of_rows, weights


def column_pairs(x: Array, kernel: Array) -> Array:
    """Compute the transposed convolution along columns: `[n, h, w, c_in]` to pairs, `[n, h, w + 1, 4, 2 c_out]`.

    The axis of length four holds the kernel's rows.
    """
    n, h, w, c_in = x.shape
    c_out = kernel.shape[3]
    taps = kernel.reshape(4, 2, 2, c_in, c_out)
    if _pairs_pay(c_in, c_out):
        both = taps[:, ::-1].transpose(1, 3, 0, 2, 4).reshape(2 * c_in, 8 * c_out)
        pairs = product(rounding.move(_neighbours, (x,), kernel.dtype), weights(both, n * h * (w + 1)))
        return pairs.reshape(n, h, w + 1, 4, 2 * c_out)
    each = taps.transpose(3, 1, 0, 2, 4).reshape(c_in, 16 * c_out)
    products = product(_pixels(x, kernel.dtype), each)
    # The kernel's rows and a pair's columns stay one axis until they are added: loops over short axes are slow.
    own, following = slices.unstack(products.reshape(n, h, w, 2, 8 * c_out), 3)
    return slices.add_shifted(own, following, 2).reshape(n, h, w + 1, 4, 2 * c_out)


def _neighbours(x: Array) -> Array:
    """Put each pixel beside the one before it, with a border of zeros: `[n, h, w, c]` to `[n h (w + 1), 2 c]`."""
    bordered = slices.pad(x, 2, 1, 1)
    return jnp.concatenate([bordered[:, :, :-1], bordered[:, :, 1:]], axis=3).reshape(-1, 2 * x.shape[3])


def _pixels(x: Array, dtype: DTypeLike) -> Array:
    """Return the pixels as rows of a matrix: `[n, h, w, c]` to `[n h w, c]`, rounded to `dtype`."""

    def join(first: Array, others: Array) -> Array:
        return jnp.concatenate([first, others], axis=1).reshape(-1, x.shape[3])

    if not rounding.narrows(x, dtype):
        return x.astype(dtype).reshape(-1, x.shape[3])
    # In two parts. Otherwise XLA rounds in the loop that adds up the layer before, which makes it three times as slow.
    return rounding.move(join, tuple(lax.split(x, (1, x.shape[1] - 1), axis=1)), dtype)


def _pairs_pay(c_in: int, c_out: int) -> bool:
    """Return whether the product should add columns too. Its operand is then twice as wide, its result half as wide."""
    return 8 * c_out >= c_in


def overlap_add(pairs: Array) -> Array:
    """Add the pairs of `column_pairs` along rows: `[n, h, w + 1, 4, 2 c]` to `[n, 2h, 2w, c]`."""
    n, h, columns, _, channels = pairs.shape
    own, following = slices.unstack(pairs.reshape(n, h, columns, 2, 2, channels), 3)
    own, following = (part.transpose(0, 1, 3, 2, 4) for part in (own, following))
    blocks = slices.add_shifted(own, following, 1)
    # Columns and channels are cut as one axis: the gradient's loop over an axis of few channels is slow.
    c = channels // 2
    image = blocks.reshape(n, 2 * h + 2, 2 * columns * c)[:, 1:-1, c:-c]
    return image.reshape(n, 2 * h, 2 * columns - 2, c)


def overlap_planes(x: Array, kernel: Array) -> Array:
    """Return `to_planes` of the transposed convolution: `[n, h, w, c_in]` to `[c_out, 4, n, h w]`."""
    n, h, w, c_in = x.shape
    c_out = kernel.shape[3]
    taps = kernel.reshape(4, 2, 2, c_in, c_out)
    if _pairs_pay(c_in, c_out):
        both = taps[:, ::-1].transpose(0, 2, 4, 1, 3).reshape(8 * c_out, 2 * c_in)
        pairs = product_of_rows(both, rounding.move(_neighbours, (x,), kernel.dtype)).reshape(4, 2, c_out, n, h, w + 1)
    else:
        each = taps.transpose(1, 0, 2, 4, 3).reshape(16 * c_out, c_in)
        own, following = product_of_rows(each, _pixels(x, kernel.dtype)).reshape(2, 4, 2, c_out, n, h, w)
        pairs = slices.add_shifted(own, following, 5)
    blocks = slices.add_shifted(pairs[:2], pairs[2:], 4)

    def plane(row: int, column: int) -> Array:
        # The first column of a pair is odd and belongs to the pixel before.
        return blocks[1 - row, 1 - column, :, :, row : row + h, column : column + w]

    planes = jnp.stack([plane(row, column) for row in (0, 1) for column in (0, 1)], axis=1)
    return planes.reshape(c_out, 4, n, h * w)
