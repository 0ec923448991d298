"""Depthwise convolution: one k x k filter a channel, lowered per platform.

One mathematical function has two lowerings that agree to rounding, in value and in every derivative. `"native"` is
XLA's grouped convolution. `"shifted"` adds up k * k shifted copies of the input, each multiplied by one tap of the
filters. `"auto"` is `"shifted"` where the program is compiled for a CPU and `"native"` on every other platform. The
choice is made when the program is lowered (`jax.lax.platform_dependent`), so an exported program carries the right
lowering for each of its platforms.

On a CPU, XLA lowers a grouped convolution to a slow generic loop. EfficientNet-Lite0 up to stride 16 takes 80 ms an
image of 256x256 with it, and 9 ms with shifted copies (two AVX-512 cores, batch 1).
"""

from functools import partial
from typing import Literal, get_args

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument

Lowering = Literal["auto", "native", "shifted"]

Padding = tuple[tuple[int, int], tuple[int, int]]
"""Rows of zeros above and below, and columns of zeros left and right."""


def same_padding(size: tuple[int, int], kernel: int, stride: int) -> Padding:
    """TensorFlow's `"SAME"` padding, with which the output has `ceil(size / stride)` rows and columns.

    Where the number of zeros is odd, the one too many goes below and to the right. PyTorch's layers always pad both
    sides alike, so this differs from theirs for even sizes and stride 2.

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
    shifted = partial(_shifted, stride=stride, padding=pads)
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


def _shifted(x: Array, kernel: Array, *, stride: int, padding: Padding) -> Array:
    # The barrier has XLA write the padded input once. Without it each of the k * k terms computes the layer before and
    # compares indices with the border again: 339 ms and not 251 for EfficientNet-Lite0 and 16 images of 256x256.
    padded = lax.optimization_barrier(jnp.pad(x, ((0, 0), *padding, (0, 0))))
    k = kernel.shape[0]
    rows, columns = ((padded.shape[axis] - k) // stride + 1 for axis in (1, 2))
    taps = [
        padded[:, u : u + (rows - 1) * stride + 1 : stride, v : v + (columns - 1) * stride + 1 : stride]
        * kernel[u, v].reshape(1, 1, 1, -1)
        for u in range(k)
        for v in range(k)
    ]
    return sum(taps[1:], start=taps[0])
