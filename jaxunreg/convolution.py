"""The strided 4x4 convolution of the encoder and the transposed one of the decoder, lowered per platform.

Each is one mathematical function with two lowerings that agree to rounding, in value and in every
derivative, for one layout of the weights. `"native"` is XLA's convolution. `"matmul"` is one matrix product
beside a rearrangement of its operand: im2col for `conv`, overlap-add for `conv_transpose`. `"auto"` is
matrix products where the program is compiled for a CPU and the native convolution on every other platform.
That choice is made when the program is lowered (`jax.lax.platform_dependent`), so an exported program
carries the right one for each of its platforms. Nothing but the `lowering` argument decides: no flag, no
environment variable. A whole network is forced by handing the argument to each of its layers, which is what
`NetworkConfig.lowering` does.

On a CPU XLA lowers the gradients of a strided convolution, and every transposed convolution, to a slow
generic loop. Measured in one process on two shared AVX-512 cores, JAX 0.10, float32: with matrix products a
train step of the VAE is 3.6 times as fast at 32x32 (batch 128) and 6.7 times at 96x96 (batch 32), and scoring
2.3 and 4.8 times. The price is memory: 91 MB of temporaries for a train step where the native one has 49.
"""

from collections.abc import Callable
from typing import Literal, get_args

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Lowering = Literal["auto", "native", "matmul"]


def conv(x: Array, kernel: Array, *, lowering: str = "auto") -> Float[Array, "n rows columns c_out"]:
    """4x4 convolution with stride 2 and padding 1, which halves height and width.

    `y[n, i, j, o] = sum_{u, v, c} x[n, 2i + u - 1, 2j + v - 1, c] kernel[u, v, c, o]`, with zeros outside
    of `x`. As everywhere in deep learning the kernel is not flipped. It equals PyTorch's
    `Conv2d(c_in, c_out, 4, 2, 1)` with `kernel = weight.permute(2, 3, 1, 0)`.

    Args:
      x: `[n, height, width, c_in]`, floating point, height and width even.
      kernel: `[4, 4, c_in, c_out]`, the dtype of `x`. Below 32 bits, products are accumulated in float32.
      lowering: `"auto"`, `"native"` or `"matmul"`; see the module's docstring.

    Returns:
      `[n, height / 2, width / 2, c_out]`, the dtype of `x`.

    Raises:
      ValueError: wrong rank, odd height or width, a kernel that does not fit `x`, or an unknown lowering.
      TypeError: dtypes that differ or are not floating point.

    >>> import jax.numpy as jnp
    >>> conv(jnp.ones((1, 4, 6, 3)), jnp.ones((4, 4, 3, 8)))[0, :, :, 0].tolist()
    [[27.0, 36.0, 27.0], [27.0, 36.0, 27.0]]
    """
    _check("conv", x, kernel, lowering)
    if x.shape[1] % 2 or x.shape[2] % 2:
        raise ValueError(f"conv got x of shape {x.shape}, expected an even height and width to halve. Crop or pad it.")
    return _lower(x, kernel, lowering, matmul=_conv_matmul, native=_conv_native)


def conv_transpose(x: Array, kernel: Array, *, lowering: str = "auto") -> Float[Array, "n rows columns c_out"]:
    """Transposed 4x4 convolution with stride 2 and padding 1, which doubles height and width.

    `y[n, 2i + u - 1, 2j + v - 1, o] += sum_c x[n, i, j, c] kernel[u, v, c, o]` over all `i, j, u, v`; what
    falls outside of `y` is dropped. It equals PyTorch's `ConvTranspose2d(c_in, c_out, 4, 2, 1)` with
    `kernel = weight.permute(2, 3, 0, 1)`. It is the adjoint of `conv` with the kernel's channels exchanged,

        <conv(a, kernel), b> = <a, conv_transpose(b, kernel.transpose(0, 1, 3, 2))>,

    and so the gradient of `conv` with respect to its input. The kernel is not flipped; to
    `flax.linen.ConvTranspose`, which correlates, this is the kernel turned by 180 degrees.

    Args:
      x: `[n, height, width, c_in]`, floating point.
      kernel: `[4, 4, c_in, c_out]`, the dtype of `x`. Below 32 bits, products are accumulated in float32.
      lowering: `"auto"`, `"native"` or `"matmul"`; see the module's docstring.

    Returns:
      `[n, 2 height, 2 width, c_out]`, the dtype of `x`.

    Raises:
      ValueError: wrong rank, a kernel that does not fit `x`, or an unknown lowering.
      TypeError: dtypes that differ or are not floating point.

    >>> import jax.numpy as jnp
    >>> conv_transpose(jnp.ones((1, 2, 2, 8)), jnp.ones((4, 4, 8, 3)))[0, 0, :, 0].tolist()
    [8.0, 16.0, 16.0, 8.0]
    """
    _check("conv_transpose", x, kernel, lowering)
    return _lower(x, kernel, lowering, matmul=_conv_transpose_matmul, native=_conv_transpose_native)


def _check(name: str, x: Array, kernel: Array, lowering: str) -> None:
    if lowering not in get_args(Lowering):
        raise ValueError(f"{name} got lowering={lowering!r}, expected one of {list(get_args(Lowering))}.")
    if x.ndim != 4:
        raise ValueError(f"{name} got x of shape {x.shape}, expected [n, height, width, c_in]. Add a batch axis.")
    if kernel.ndim != 4 or kernel.shape[:3] != (4, 4, x.shape[3]):
        raise ValueError(
            f"{name} got x of shape {x.shape} and a kernel of shape {kernel.shape}, expected a kernel "
            f"[4, 4, {x.shape[3]}, c_out]."
        )
    if x.dtype != kernel.dtype or not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            f"{name} got x of {x.dtype} and a kernel of {kernel.dtype}, expected one floating-point "
            "dtype for both. Cast one of them."
        )


_Convolution = Callable[[Array, Array], Array]


def _lower(x: Array, kernel: Array, lowering: str, *, matmul: _Convolution, native: _Convolution) -> Array:
    if lowering == "auto":
        return lax.platform_dependent(x, kernel, cpu=matmul, default=native)
    return (matmul if lowering == "matmul" else native)(x, kernel)


def _conv_native(x: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(
        x, kernel, window_strides=(2, 2), padding=((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _conv_transpose_native(x: Array, kernel: Array) -> Array:
    # A convolution over x with a zero between neighbours; the kernel turned by 180 degrees scatters, not
    # gathers.
    return lax.conv_general_dilated(
        x,
        kernel[::-1, ::-1],
        window_strides=(1, 1),
        padding=((2, 2), (2, 2)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


# The matrix-product lowering. It has no derivative rule, so that every mode and order of differentiation
# works: im2col and overlap-add are each other's transpose, and each is written in operations whose transpose
# is the fast form of the other. One formulation serves all layers, forward and backward: with its gradients
# it reaches 91-193 GFLOP/s in the layers of the 32x32 network (batch 128; the product alone has 200). Space
# to depth with one product to 4 c_out and a shifted addition moves less memory but multiplies (h + 1)(w + 1)
# / (h w) times as much, and reached 45-122; nowhere did another one win by more than 7%, but for the
# one-channel first layer at 96x96 (1.45 ms and not 1.8). Nothing depends on the batch size, which is 1 under
# `vmap`.


def _conv_matmul(x: Array, kernel: Array) -> Array:
    n, height, width, c_in = x.shape
    c_out = kernel.shape[3]
    # The kernel is transposed so that the product for its gradient has the narrow operand on the left: the
    # other way round XLA needs 9.9 ms and not 5.5 for 32 -> 64 channels at 16x16. Exchanging the last two
    # axes after the reshape would not do, since XLA folds that back into the product.
    taps = kernel.transpose(3, 0, 1, 2).reshape(c_out, 16 * c_in)
    # Arranged in 32 bits, as the transpose of im2col adds up, and XLA adds bfloat16 slowly: 12.2 ms and not
    # 23.6 for a bfloat16 layer 32 -> 64 with its gradients. The product itself has the operands' own dtype.
    patches = _patches(x.astype(_accumulator(x))).astype(x.dtype)
    y = _product(patches, taps, (1, 1))
    return y.reshape(n, height // 2, width // 2, c_out).astype(x.dtype)


def _conv_transpose_matmul(x: Array, kernel: Array) -> Array:
    n, height, width, c_in = x.shape
    taps = kernel.transpose(2, 0, 1, 3).reshape(c_in, 16 * kernel.shape[3])
    patches = _product(x.reshape(n * height * width, c_in), taps, (1, 0))
    return _overlap_add(patches, n, height, width).astype(x.dtype)


def _accumulator(x: Array) -> jnp.dtype:
    return jnp.dtype(jnp.float32) if x.dtype.itemsize < 4 else x.dtype


def _product(a: Array, b: Array, axes: tuple[int, int]) -> Array:
    """Product of matrices over axis `axes[0]` of `a` and `axes[1]` of `b`, in float32 or wider."""
    dimensions = (((axes[0],), (axes[1],)), ((), ()))
    return lax.dot_general(a, b, dimensions, preferred_element_type=_accumulator(a))


# With a border of one pixel, output row i sees the row pairs i and i + 1 of the image, and columns likewise.
# The two columns of a pair are neighbours in memory, so a patch is eight runs of 2 c values, in this order:
# row pair i or i + 1, row within the pair, column pair j or j + 1.
_RUNS = tuple((i, row, j) for i in (0, 1) for row in (0, 1) for j in (0, 1))


def _patches(x: Array) -> Array:
    """im2col: the 4x4 patch under each output pixel, `[n, 2h, 2w, c]` to `[n h w, 16 c]`."""
    n, height, width, c = x.shape
    h, w = height // 2, width // 2
    pairs = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))).reshape(n, h + 1, 2, w + 1, 2 * c)
    # Joined along a new axis: along the last one XLA takes twice as long (11.1 and 5.5 ms for 17 MB).
    runs = jnp.stack([pairs[:, i : i + h, row, j : j + w] for i, row, j in _RUNS], axis=3)
    return runs.reshape(n * h * w, 16 * c)


def _overlap_add(patches: Array, n: int, h: int, w: int) -> Array:
    """Transpose of im2col: 4x4 patches added where they overlap, `[n h w, 16 c]` to `[n, 2h, 2w, c]`."""
    c = patches.shape[1] // 16
    # Split and not sliced: the transpose of `split` joins eight runs, that of eight slices adds eight padded
    # arrays.
    runs = dict(zip(_RUNS, lax.split(patches.reshape(n, h, w, 8, 2 * c), (1,) * 8, axis=3), strict=True))

    def rows(row: int) -> Array:
        first, *others = (
            jnp.pad(runs[i, row, j][:, :, :, 0], ((0, 0), (i, 1 - i), (j, 1 - j), (0, 0)))
            for i in (0, 1)
            for j in (0, 1)
        )
        return sum(others, start=first)

    pairs = jnp.stack([rows(0), rows(1)], axis=2)
    return pairs.reshape(n, 2 * h + 2, 2 * w + 2, c)[:, 1:-1, 1:-1]
