"""The strided 4x4 convolution of the encoder and the transposed one of the decoder, lowered per platform."""

from typing import Literal, get_args

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Lowering = Literal["auto", "native", "matmul"]


def conv(
    x: Array,
    kernel: Array,
    *,
    lowering: str = "auto",
) -> Float[Array, "n rows columns c_out"]:
    """4x4 convolution, stride 2, padding 1: `y[n,i,j,o] = sum_uvc x[n,2i+u-1,2j+v-1,c] kernel[u,v,c,o]`.

    Args:
      x: images, NHWC, floating point; height and width even.
      kernel: HWIO, the dtype of `x`.
      lowering: `"native"` is XLA's convolution, `"matmul"` matrix products; `"auto"` takes matrix products on a
        CPU and the native convolution on every other platform.

    Returns:
      `[n, height/2, width/2, c_out]`, the dtype of `x`.

    Raises:
      ValueError: wrong rank, odd height or width, a kernel that does not fit, or an unknown lowering.
      TypeError: dtypes which differ or are not floating point.

    >>> import jax.numpy as jnp
    >>> conv(jnp.ones((1, 4, 4, 3)), jnp.ones((4, 4, 3, 8))).shape
    (1, 2, 2, 8)
    """
    _check(x, kernel, lowering)
    if x.shape[1] % 2 or x.shape[2] % 2:
        raise ValueError(
            f"conv halves height and width, so both must be even; got x of shape {x.shape}. Pad or crop it."
        )
    return _lower(_conv_matmul, _conv_native, x, kernel, lowering)


def conv_transpose(
    x: Array,
    kernel: Array,
    *,
    lowering: str = "auto",
) -> Float[Array, "n rows columns c_out"]:
    """Transposed 4x4 convolution, stride 2, padding 1: `y[n,2i+u-1,2j+v-1,o] += sum_c x[n,i,j,c] kernel[u,v,c,o]`.

    PyTorch's `ConvTranspose2d(c_in, c_out, 4, 2, 1)` with `kernel = weight.permute(2, 3, 0, 1)`. It is the adjoint of
    `conv` with the kernel's channels exchanged:
    `<conv(a, k), b> = <a, conv_transpose(b, k.transpose(0, 1, 3, 2))>`.

    Args:
      x: features, NHWC, floating point.
      kernel: height, width, channels in, channels out; the dtype of `x`.
      lowering: as for `conv`.

    Returns:
      `[n, 2 height, 2 width, c_out]`, the dtype of `x`.

    Raises:
      ValueError: wrong rank, a kernel that does not fit, or an unknown lowering.
      TypeError: dtypes which differ or are not floating point.

    >>> import jax.numpy as jnp
    >>> conv_transpose(jnp.ones((1, 2, 2, 8)), jnp.ones((4, 4, 8, 3))).shape
    (1, 4, 4, 3)
    """
    _check(x, kernel, lowering)
    return _lower(_conv_transpose_matmul, _conv_transpose_native, x, kernel, lowering)


def _check(x, kernel, lowering) -> None:
    if lowering not in get_args(Lowering):
        raise ValueError(f"lowering must be one of {get_args(Lowering)}, got {lowering!r}.")
    if x.ndim != 4 or kernel.ndim != 4:
        raise ValueError(
            f"Expected x [N, H, W, C] and kernel [4, 4, C_in, C_out], got {x.shape} and {kernel.shape}."
        )
    if kernel.shape[:3] != (4, 4, x.shape[3]):
        raise ValueError(
            f"x of shape {x.shape} needs a kernel [4, 4, {x.shape[3]}, C_out], got {kernel.shape}."
        )
    if x.dtype != kernel.dtype or not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            f"x and kernel must share one floating-point dtype, got {x.dtype} and {kernel.dtype}."
        )


def _lower(matmul, native, x, kernel, lowering):
    if lowering == "auto":
        return lax.platform_dependent(x, kernel, cpu=matmul, default=native)
    return (matmul if lowering == "matmul" else native)(x, kernel)


def _conv_native(x, kernel):
    return lax.conv_general_dilated(
        x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _conv_transpose_native(x, kernel):
    return lax.conv_general_dilated(
        x,
        kernel[::-1, ::-1],
        (1, 1),
        ((2, 2), (2, 2)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _product(a, b):
    return lax.dot_general(a, b, (((a.ndim - 1,), (0,)), ((), ())), preferred_element_type=jnp.float32)


def _conv_matmul(x, kernel):
    n, height, width, c = x.shape
    h, w = height // 2, width // 2
    p = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).reshape(n, h + 1, 2, w + 1, 2 * c)
    patches = jnp.concatenate(
        [p[:, a : a + h, r, b : b + w] for a in (0, 1) for r in (0, 1) for b in (0, 1)], axis=-1
    )
    return _product(patches, kernel.reshape(16 * c, -1)).astype(x.dtype)


def _conv_transpose_matmul(x, kernel):
    n, h, w, c = x.shape
    o = kernel.shape[3]
    taps = _product(x, kernel.transpose(2, 0, 1, 3).reshape(c, 16 * o)).reshape(n, h, w, 2, 2, 2, 2 * o)
    total = sum(
        jnp.pad(taps[:, :, :, a, :, b], ((0, 0), (a, 1 - a), (b, 1 - b), (0, 0), (0, 0)))
        for a in (0, 1)
        for b in (0, 1)
    )
    big = total.transpose(0, 1, 3, 2, 4).reshape(n, 2 * h + 2, 2 * w + 2, o)
    return big[:, 1:-1, 1:-1].astype(x.dtype)
