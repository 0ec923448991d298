"""The patch under each output pixel of the strided convolution, as the rows of a matrix."""

import jax.numpy as jnp
from jaxtyping import Array

from jaxunreg.nn import slices


# With a border of one pixel, the image consists of blocks of 2x2, and output [i, j] sees the blocks [i + a, j + b] for
# a and b in {0, 1}. A patch has the order of the kernel: block row a, row within it, block column b, column within it,
# channel.
def image_patches(x: Array) -> Array:
    """Return the 4x4 patch under each output pixel (im2col), `[n, 2h, 2w, c]` to `[n h w, 16 c]`."""
    n, height, width, c = x.shape
    h, w = height // 2, width // 2
    blocks = slices.pad_ends(x, ((0, 0), (1, 1), (1, 1), (0, 0))).reshape(n, h + 1, 2, w + 1, 2 * c)
    parts = [[blocks[:, a : a + h, :, b : b + w].transpose(0, 1, 3, 2, 4) for b in (0, 1)] for a in (0, 1)]
    patches = jnp.stack([jnp.stack(row, axis=4) for row in parts], axis=3)
    return patches.reshape(n * h * w, 16 * c)
