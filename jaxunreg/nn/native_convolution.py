"""The convolutions by XLA's own operations."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from jaxunreg.nn.lowering import Prepared
from jaxunreg.nn.planes import to_planes


def conv_native(x: Array, kernel: Prepared, *, dtype: jnp.dtype) -> Array:
    """Compute `conv` with operands of the dtype."""
    y = lax.conv_general_dilated(
        x.astype(dtype),
        kernel.kernel.astype(dtype),
        window_strides=(2, 2),
        padding=((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return y.astype(x.dtype)


def conv_transpose_native(x: Array, kernel: Prepared, *, dtype: jnp.dtype, planes: bool) -> Array:
    """Compute `conv_transpose` with operands of the dtype."""
    # A convolution over x with zeros between neighbours. The kernel is turned by 180 degrees, so it scatters instead of
    # gathering.
    y = lax.conv_general_dilated(
        x.astype(dtype),
        kernel.kernel[::-1, ::-1].astype(dtype),
        window_strides=(1, 1),
        padding=((2, 2), (2, 2)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    y = y.astype(x.dtype)
    return to_planes(y) if planes else y
