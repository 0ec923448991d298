"""Layers of the paper's networks. They fold batch normalisation into their weights when they score."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxunreg.nn.config import NetworkConfig
from jaxunreg.nn.convolution import conv, conv_transpose, prepare
from jaxunreg.nn.lowering import Prepared, on_platform
from jaxunreg.nn.normalization import batch_norm_relu


class Folded(NamedTuple):
    """A layer's weights when scoring. The batch normalisation after it has become a factor on the kernel, and the bias.

    Attributes:
      kernel: what `conv` or `conv_transpose` takes, or the matrix of a dense layer.
      bias: `[features]`.
    """

    kernel: Array | Prepared
    bias: Array


class Convolution(nn.Module):
    """A 4x4 convolution of stride 2 and padding 1 that halves height and width, or its transpose that doubles them.

    With `normalize`, batch normalisation and ReLU follow. Without it, a bias is added.

    Attributes:
      config: how to start and to compute.
      features: output channels.
      transpose: double instead of halve.
      normalize: batch normalisation and ReLU in place of a bias.
      scale: factor on the starting kernel.
      planes: with `transpose` and without `normalize`, return `convolution.to_planes` of the result.
    """

    config: NetworkConfig
    features: int
    transpose: bool = False
    normalize: bool = True
    scale: float = 1.0
    planes: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool = False
    ) -> Float[Array, "batch rows columns features"] | Float[Array, "features 4 batch pixels"]:
        kernel = self.param("kernel", self._kernel_init(), (4, 4, x.shape[-1], self.features), jnp.float32)
        height, width = x.shape[1:3]
        outputs = (height, width) if self.transpose else (height // 2, width // 2)
        prepare_kernel = partial(_prepare, self.config, outputs, self.transpose)
        return _layer(self, x, kernel, self._apply, prepare_kernel, train=train, axis=0 if self.planes else -1)

    def _apply(self, x: Array, kernel: Array | Prepared) -> Array:
        lowering, dtype = self.config.lowering, self.config.precision
        if self.transpose:
            return conv_transpose(x, kernel, lowering=lowering, dtype=dtype, planes=self.planes)
        return conv(x, kernel, lowering=lowering, dtype=dtype)

    def _kernel_init(self) -> Any:
        init = getattr(nn.initializers, self.config.initializer)()
        # Each output of the transposed layer sums 2x2 of the 4x4 taps, so its variance is a quarter of what the
        # initializer expects.
        scale = self.scale * (2.0 if self.transpose else 1.0)
        return partial(_scaled, init, scale)


class Dense(nn.Module):
    """A fully connected layer, followed by batch normalisation over the channels of its map and ReLU, or by a bias.

    Attributes:
      config: how to start and to compute.
      features: shape of the output for one input: units, or height, width and channels.
      normalize: batch normalisation and ReLU in place of a bias.
    """

    config: NetworkConfig
    features: tuple[int, ...]
    normalize: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "batch units"], *, train: bool = False) -> Float[Array, "batch ..."]:
        # He's initializer before ReLU. Otherwise one that keeps the variance.
        init = getattr(nn.initializers, self.config.initializer if self.normalize else "lecun_normal")()
        kernel = self.param("kernel", init, (x.shape[-1], math.prod(self.features)), jnp.float32)
        return _layer(self, x, kernel, self._apply, lambda kernel: kernel, train=train)

    def _apply(self, x: Array, kernel: Array) -> Array:
        dtype = jnp.dtype(self.config.precision)
        y = jnp.matmul(x.astype(dtype), kernel.astype(dtype), preferred_element_type=jnp.float32)
        return y.reshape(-1, *self.features)


def _prepare(config: NetworkConfig, outputs: tuple[int, int], transpose: bool, kernel: Array) -> Prepared:
    if on_platform(config.lowering, jax.default_backend()) == "native":
        return Prepared(kernel, None)
    return prepare(kernel, outputs, transpose=transpose)


def _scaled(init: Callable[..., Array], scale: float, key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
    return scale * init(key, shape, dtype)


def _fold(module: Any, kernel: Array, bias: Array, prepare: Callable[[Array], Any]) -> Folded:
    """Return the folded weights that `fold` stored, or make them. `fold` makes the collection `folded` mutable."""
    if module.has_variable("folded", "layer"):
        return Folded(*module.get_variable("folded", "layer"))
    if module.is_mutable_collection("folded") and not module.is_initializing():
        dtype = jnp.dtype(module.config.precision)
        prepared = jax.tree.map(lambda part: part.astype(dtype), prepare(kernel))
        module.put_variable("folded", "layer", Folded(prepared, bias))
    return Folded(kernel, bias)


def _layer(
    module: Any,
    x: Array,
    kernel: Array,
    apply: Callable[..., Array],
    prepare: Callable[[Array], Any],
    *,
    train: bool,
    axis: int = -1,
) -> Array:
    """Apply a linear map, then batch normalisation and ReLU or a bias, in the scope of a `Convolution` or a `Dense`.

    `axis` is the axis of the channels in the result of `apply`. With batch normalisation it is the last one.
    """
    config = module.config
    channels = module.features[-1] if isinstance(module.features, tuple) else module.features
    bias = module.param("bias", nn.initializers.zeros_init(), (channels,), jnp.float32)
    if not module.normalize:
        folded = _fold(module, kernel, bias, prepare)
        return _add(apply(x, folded.kernel), folded.bias, axis)
    scale = module.param("scale", nn.initializers.ones_init(), (channels,), jnp.float32)
    mean = module.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
    variance = module.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)
    if train:
        y = batch_norm_relu(apply(x, kernel), scale, bias, config.batch_norm_epsilon)
        if not module.is_initializing():
            momentum = config.batch_norm_momentum
            mean.value = momentum * mean.value + (1.0 - momentum) * y.mean
            variance.value = momentum * variance.value + (1.0 - momentum) * y.variance
        return y.y
    factor = scale * jax.lax.rsqrt(variance.value + config.batch_norm_epsilon)
    rows = kernel.reshape(-1, channels) * factor.reshape(1, -1)
    folded = _fold(module, rows.reshape(kernel.shape), bias - mean.value * factor, prepare)
    return nn.relu(_add(apply(x, folded.kernel), folded.bias))


def _add(y: Array, bias: Array, axis: int = -1) -> Array:
    shape = [1] * y.ndim
    shape[axis] = -1
    return y + bias.reshape(shape)
