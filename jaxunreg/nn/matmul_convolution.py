"""The convolutions as matrix products: Winograd's minimal filtering, or im2col and overlap-add where it does not pay.

This lowering has no derivative rule of its own, so every mode and order of differentiation works. The operations that
rearrange an operand are chosen so that their transpose is the fast form of the adjoint.
"""

import jax.numpy as jnp
from jax.export import is_symbolic_dim
from jaxtyping import Array

from jaxunreg.nn import winograd
from jaxunreg.nn.im2col import image_patches
from jaxunreg.nn.lowering import Prepared
from jaxunreg.nn.overlap_add import column_pairs, overlap_add, overlap_planes
from jaxunreg.nn.planes import to_planes
from jaxunreg.nn.products import accumulator, product
from jaxunreg.typing import Length


def conv_matmul(x: Array, kernel: Prepared, *, dtype: jnp.dtype) -> Array:
    """Compute `conv` by matrix products whose operands have the dtype."""
    n, height, width, c_in = x.shape
    c_out = kernel.kernel.shape[3]
    outputs = height // 2, width // 2
    points = kernel.points
    if points is None and winograd_pays(n, outputs, c_in, c_out):
        points = winograd.prepare(kernel.kernel.astype(accumulator(x)), outputs)
    # In 32 bits: the transpose adds up, and XLA adds bfloat16 slowly.
    wide = x.astype(accumulator(x))
    if points is not None:
        return winograd.conv(wide, points, dtype).astype(x.dtype)
    # In 32 bits: such a thin product waits for memory, and XLA moves bfloat16 slowly. In bfloat16, im2col of 32x32x3
    # images takes four times as long.
    y = product(image_patches(wide), kernel.kernel.reshape(16 * c_in, c_out).astype(wide.dtype))
    return y.reshape(n, *outputs, c_out).astype(x.dtype)


def conv_transpose_matmul(x: Array, kernel: Prepared, *, dtype: jnp.dtype, planes: bool) -> Array:
    """Compute `conv_transpose` by matrix products whose operands have the dtype."""
    n, height, width, c_in = x.shape
    c_out = kernel.kernel.shape[3]
    points = kernel.points
    if points is None and winograd_pays(n, (height, width), c_in, c_out):
        points = winograd.prepare(kernel.kernel.astype(accumulator(x)), (height, width), transpose=True)
    if points is not None:
        y = winograd.conv_transpose(x.astype(accumulator(x)), points, dtype).astype(x.dtype)
        return to_planes(y) if planes else y
    narrow = kernel.kernel.astype(dtype)
    y = overlap_planes(x, narrow) if planes else overlap_add(column_pairs(x, narrow))
    return y.astype(x.dtype)


# With fewer channels the products are too thin: 3 -> 32 channels at 32x32 is faster by im2col.
FEWEST_CHANNELS = 16

# With fewer tiles, preparing the kernel can cost more than its products save. With these 64, 96x96 images train 1.13
# times as fast in batches of 64 (median of 5 rounds that take turns, 1.08 to 1.23) as with 128.
_FEWEST_TILES = 64


def winograd_pays(n: Length, outputs: tuple[int, int], c_in: int, c_out: int) -> bool:
    """Return whether preparing a kernel pays.

    Under `vmap`, n is 1, and in a program for batches of any size n is unknown. Then the size of the image decides.
    """
    many = min(outputs) >= 4 or (not is_symbolic_dim(n) and n * winograd.tiles(outputs) >= _FEWEST_TILES)
    return many and min(c_in, c_out) >= FEWEST_CHANNELS
