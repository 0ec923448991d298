"""Convolutions of frozen networks, with their batch normalisation folded in."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxunreg.features.weights_file import WeightsError, array_of
from jaxunreg.nn.config import Precision
from jaxunreg.nn.depthwise import Padding


class Convolution(NamedTuple):
    """A convolution with its batch normalisation folded in: `y = conv(x, kernel) + bias`.

    Attributes:
      kernel: `[k, k, c_in, c_out]`, or `[k, k, channels]` of a depthwise convolution.
      bias: `[c_out]`.
    """

    kernel: Array
    bias: Array


def fold_batch_norm(
    tensors: Mapping[str, np.ndarray],
    convolution: str,
    norm: str,
    shape: tuple[int | None, int | None, int, int],
    epsilon: float,
) -> Convolution:
    """Fold a convolution and the batch normalisation after it, as PyTorch stores them, into one convolution.

    `scale (w * x - mean) / sqrt(variance + epsilon) + bias = (w g) * x + (bias - g mean)` with
    `g = scale / sqrt(variance + epsilon)`.

    Args:
      tensors: arrays by their names in PyTorch.
      convolution: name of the convolution.
      norm: name of the batch normalisation.
      shape: expected shape of the kernel in PyTorch, `[c_out, c_in, k, k]`; `None` stands for any length.
      epsilon: epsilon of the batch normalisation.

    Returns:
      Float32 arrays. A kernel with `c_in = 1` and several outputs is taken for a depthwise convolution.

    Raises:
      WeightsError: an array is missing, of another shape, not finite, or has a negative variance.
    """
    weight = array_of(tensors, f"{convolution}.weight", shape)
    channels = (weight.shape[0],)
    scale, bias, mean, variance = (
        array_of(tensors, f"{norm}.{name}", channels) for name in ("weight", "bias", "running_mean", "running_var")
    )
    if variance.min() < 0.0:
        raise WeightsError(f"{norm}.running_var below zero", "variances", "the file is damaged; copy it again")
    gain = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    kernel = (weight * gain.reshape(-1, 1, 1, 1)).transpose(2, 3, 1, 0)
    depthwise = weight.shape[1] == 1 and weight.shape[0] > 1
    # `jnp.asarray` would compile a program for each shape, which takes 0.8 s for all of a network.
    return Convolution(
        jax.device_put((kernel[:, :, 0] if depthwise else kernel).astype(np.float32)),
        jax.device_put((bias - gain * mean).astype(np.float32)),
    )


def convolve(
    x: Float[Array, "batch height width c_in"],
    layer: Convolution,
    stride: int = 1,
    padding: Padding = ((0, 0), (0, 0)),
    precision: Precision = "float32",
) -> Float[Array, "batch rows columns c_out"]:
    """Return `y = conv(x, kernel) + bias` in the dtype of `x`. A 1x1 kernel is a matrix product.

    Args:
      x: `[batch, rows, columns, c_in]`.
      layer: a kernel `[k, k, c_in, c_out]` with its bias.
      stride: step between neighbouring outputs.
      padding: rows of zeros above and below, and columns left and right.
      precision: dtype of the operands. Products of bfloat16 are added up in the dtype of `x`.

    >>> import jax.numpy as jnp
    >>> layer = Convolution(jnp.ones((1, 1, 3, 2)), jnp.ones(2))
    >>> convolve(jnp.ones((1, 4, 4, 3)), layer, stride=2)[0, :, :, 0].tolist()
    [[4.0, 4.0], [4.0, 4.0]]
    """
    out = x.dtype
    operand = jnp.bfloat16 if precision == "bfloat16" else out
    x, kernel = x.astype(operand), layer.kernel.astype(operand)
    if kernel.shape[:2] == (1, 1):
        axes = (((3,), (0,)), ((), ()))
        y = lax.dot_general(x[:, ::stride, ::stride], kernel[0, 0], axes, preferred_element_type=out)
    else:
        numbers = ("NHWC", "HWIO", "NHWC")
        y = lax.conv_general_dilated(
            x, kernel, (stride, stride), padding, dimension_numbers=numbers, preferred_element_type=out
        )
    return y + layer.bias.astype(out).reshape(1, 1, 1, -1)
