"""Depthwise convolution: one k x k filter a channel, lowered per platform.

One mathematical function has two lowerings that agree to rounding, in value and in every derivative. `"native"` is
XLA's grouped convolution. `"shifted"` adds up k * k shifted copies of the input, each multiplied by one tap of the
filters. `"auto"` is `"shifted"` where the program is compiled for a CPU and `"native"` on every other platform. The
choice is made when the program is lowered (`jax.lax.platform_dependent`), so an exported program carries the right
lowering for each of its platforms.

On a CPU, XLA lowers a grouped convolution to a slow generic loop. EfficientNet-Lite0 up to stride 16 takes 80 ms an
image of 256x256 with it, and 9 ms with shifted copies (two AVX-512 cores, batch 1).
"""

import functools
from functools import partial
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument

Lowering = Literal["auto", "native", "shifted"]

Padding = tuple[tuple[int, int], tuple[int, int]]
"""Rows of zeros above and below, and columns of zeros left and right."""


def same_padding(size: tuple[int, int], kernel: int, stride: int) -> Padding:
    """Return TensorFlow's `"SAME"` padding, with which the output has `ceil(size / stride)` rows and columns.

    Where the number of zeros is odd, the extra zero goes below or to the right. PyTorch's layers always pad both sides
    alike, so this differs from PyTorch for even sizes and stride 2.

    Args:
      size: height and width of the input.
      kernel: height and width of the filters.
      stride: step between neighbouring outputs.

    >>> same_padding((4, 5), kernel=3, stride=2)
    ((0, 1), (1, 1))
    """
    rows, columns = (max((-(-length // stride) - 1) * stride + kernel - length, 0) for length in size)
    return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)


def depthwise_conv(
    x: Float[Array, "n height width channels"],
    kernel: Float[Array, "k k channels"],
    *,
    stride: int = 1,
    padding: Padding | None = None,
    lowering: str = "auto",
) -> Float[Array, "n rows columns channels"]:
    """Convolve each channel with a filter of its own.

    `y[n, i, j, c] = sum_{u, v} x[n, stride i + u - top, stride j + v - left, c] kernel[u, v, c]`, with zeros outside
    of `x`. As everywhere in deep learning the kernel is not flipped. It equals PyTorch's
    `conv2d(x, weight, stride=stride, groups=channels)` with `kernel = weight[:, 0].permute(1, 2, 0)`.

    Args:
      x: images or feature maps, floating point.
      kernel: the filters, same dtype.
      stride: step between neighbouring outputs, at least 1.
      padding: `((top, bottom), (left, right))`; by default `same_padding`.
      lowering: `"auto"`, `"native"` or `"shifted"`; see the module's docstring.

    Returns:
      Same dtype as `x`.

    Raises:
      ArgumentError: shapes that do not fit, a stride below 1, an input smaller than the filter, or an unknown lowering.
      ArgumentTypeError: dtypes that differ or are not floating point.

    >>> import jax.numpy as jnp
    >>> depthwise_conv(jnp.ones((1, 3, 3, 2)), jnp.ones((3, 3, 2)))[0, :, :, 0].tolist()
    [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]
    """
    _check(x, kernel, stride, lowering)
    pads = same_padding((x.shape[1], x.shape[2]), kernel.shape[0], stride) if padding is None else padding
    if any(x.shape[1 + axis] + sum(pads[axis]) < kernel.shape[0] for axis in (0, 1)):
        raise ArgumentError(
            f"an input of {x.shape[1]}x{x.shape[2]} with {argument('padding', pads)}",
            f"at least the {kernel.shape[0]}x{kernel.shape[0]} of the filter",
            "pad more, or pass a larger input",
        )

    def shifted(x: Array, kernel: Array) -> Array:
        return _shifted(x, kernel, stride, pads)

    native = partial(_native, stride=stride, padding=pads)
    if lowering == "auto":
        return lax.platform_dependent(x, kernel, cpu=shifted, default=native)
    return (shifted if lowering == "shifted" else native)(x, kernel)


def _check(x: Array, kernel: Array, stride: int, lowering: str) -> None:
    if lowering not in get_args(Lowering):
        raise ArgumentError(argument("lowering", lowering), f"one of {list(get_args(Lowering))}")
    if stride < 1:
        raise ArgumentError(argument("stride", stride), "at least 1")
    if x.ndim != 4:
        raise ArgumentError(f"x of shape {x.shape}", "[n, height, width, channels]", "add a batch axis")
    if kernel.ndim != 3 or kernel.shape[0] != kernel.shape[1] or kernel.shape[2] != x.shape[3]:
        raise ArgumentError(f"x of shape {x.shape} and a kernel of shape {kernel.shape}", f"[k, k, {x.shape[3]}]")
    if x.dtype != kernel.dtype or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ArgumentTypeError(
            f"x of {x.dtype} and a kernel of {kernel.dtype}", "one floating-point dtype", "cast one of them"
        )


def _native(x: Array, kernel: Array, *, stride: int, padding: Padding) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel[:, :, None],
        window_strides=(stride, stride),
        padding=padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[3],
    )


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _shifted(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    # The barrier makes XLA write the padded input once. Without it, each of the k * k terms computes the layer before
    # and compares indices with the border again: EfficientNet-Lite0 then takes 339 ms instead of 251 for 16 images of
    # 256x256.
    padded = lax.optimization_barrier(jnp.pad(x, ((0, 0), *padding, (0, 0))))
    return _sum_of_copies(padded, kernel, stride)


@partial(_shifted.defjvp, symbolic_zeros=True)
def _shifted_jvp(
    stride: int, padding: Padding, primals: tuple[Array, Array], tangents: tuple[Any, Any]
) -> tuple[Array, Any]:
    """Return the function is linear in each argument. Its tangent in `x` is written so that its transpose is fast.

    A gradient transposes the tangent. JAX would make a padded copy of the cotangent for each of the k * k slices and
    add them up. So the tangent is the transpose of `_backward`, and JAX gets `_backward` back. The gradient of
    EfficientNet-Lite0 with respect to an image of 256x256 takes 57 ms instead of 130, and 4.3 instead of 6 processor
    seconds to trace and compile. Forward mode is slower in return.
    """
    (x, kernel), (x_dot, kernel_dot) = primals, tangents
    y = _shifted(x, kernel, stride, padding)
    parts = []
    if not isinstance(x_dot, SymbolicZero):
        backward = partial(_backward, kernel=kernel, size=(x.shape[1], x.shape[2]), stride=stride, padding=padding)
        parts += jax.linear_transpose(backward, y)(x_dot)
    if not isinstance(kernel_dot, SymbolicZero):
        parts.append(_shifted(x, kernel_dot, stride, padding))
    return y, functools.reduce(lax.add, parts) if parts else jnp.zeros_like(y)


def _backward(y: Array, *, kernel: Array, size: tuple[int, int], stride: int, padding: Padding) -> Array:
    """Map a cotangent of the output to one of the input: the transpose of `_shifted` in `x`, again by shifted copies.

    It is a convolution of stride 1 of `y`, spread out by the stride, with the flipped filters.
    """
    k = kernel.shape[0]
    border = []
    for length, out, (before, _) in zip(size, y.shape[1:3], padding, strict=True):
        first = k - 1 - before
        border.append((first, length + k - 1 - first - ((out - 1) * stride + 1), stride - 1))
    zero = jnp.zeros((), y.dtype)
    spread = lax.optimization_barrier(lax.pad(y, zero, [(0, 0, 0), *border, (0, 0, 0)]))
    return _sum_of_copies(spread, lax.rev(kernel, (0, 1)), 1)


# With `jit`, layers of one shape are traced once. Operations of `lax` are traced faster than indexing. Without the
# checkpoint, a gradient would keep taps that are broadcast to the size of the output: 1.1 GB for 8 images of 256x256,
# and 0.6 GB with it.
@partial(jax.jit, static_argnums=2)
@partial(jax.checkpoint, static_argnums=2, prevent_cse=False)
def _sum_of_copies(x: Array, kernel: Array, stride: int) -> Array:
    batch, height, width, channels = x.shape
    k = kernel.shape[0]
    rows, columns = (height - k) // stride + 1, (width - k) // stride + 1
    shape = (batch, rows, columns, channels)
    terms = []
    for u in range(k):
        for v in range(k):
            end = (batch, u + (rows - 1) * stride + 1, v + (columns - 1) * stride + 1, channels)
            copy = lax.slice(x, (0, u, v, 0), end, (1, stride, stride, 1))
            tap = lax.reshape(lax.slice(kernel, (u, v, 0), (u + 1, v + 1, channels)), (channels,))
            terms.append(lax.mul(copy, lax.broadcast_in_dim(tap, shape, (3,))))
    return functools.reduce(lax.add, terms)
