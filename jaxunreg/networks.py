"""The paper's convolutional encoder and decoder (section V.A), as flax.linen modules built from a config."""

import math
import typing
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float

from jaxunreg.compilation import jit_once
from jaxunreg.convolution import Lowering, Prepared, conv, conv_transpose, on_platform, prepare
from jaxunreg.normalization import batch_norm_relu
from jaxunreg.typing import Images, Latents, PRNGKey, Variables

Precision = Literal["float32", "bfloat16"]
Initializer = Literal["he_normal", "he_uniform", "lecun_normal", "glorot_uniform"]


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Shape of the encoder and of the decoder that mirrors it.

    The paper fixes 4x4 kernels of stride 2 and padding 1, `base_channels * 2**(n - 1)` channels at layer n, batch
    normalisation and ReLU, and a fully connected layer to the latent space. It does not say how the weights start
    or how fast the batch statistics follow; those are the last fields.

    Attributes:
      image_shape: height, width and channels; height and width are multiples of `2**depth`.
      depth: number of convolution layers; the paper has 4 at 32x32 and 5 at 96x96.
      base_channels: N_c, channels of the first feature map.
      latent_dim: N_z, dimensions of the latent space.
      initializer: how kernels start. `he_normal` keeps the variance through ReLU; all kernels count the taps that
        reach one output (4 of 16 in a transposed layer) as fan-in.
      batch_norm_momentum: share of the old running average kept at each step (0.9 is PyTorch's `momentum=0.1`).
      batch_norm_epsilon: added to the variance.
      lowering: how the convolutions are computed; `auto` takes matrix products on a CPU, and the native
        convolution elsewhere. Both give the same numbers to rounding, from the same weights.
      precision: of the operands of all matrix products, which are accumulated in float32 either way. `bfloat16` is
        faster where the machine has it; parameters, activations' statistics, D, A and M stay float32.

    Raises:
      ValueError: a size that the depth does not divide, or a field out of its range.

    >>> NetworkConfig(image_shape=(32, 32, 3), depth=4).bottom_shape
    (2, 2, 256)
    >>> NetworkConfig(image_shape=(28, 28, 1), depth=4)
    Traceback (most recent call last):
    ValueError: got image_shape=(28, 28, 1) with depth=4; expected height and width to be multiples of 2**4 = 16; ...
    """

    image_shape: tuple[int, int, int] = (32, 32, 3)
    depth: int = 4
    base_channels: int = 32
    latent_dim: int = 500
    initializer: Initializer = "he_normal"
    batch_norm_momentum: float = 0.9
    batch_norm_epsilon: float = 1e-5
    lowering: Lowering = "auto"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_shape", tuple(self.image_shape))
        if len(self.image_shape) != 3 or any(length < 1 for length in self.image_shape):
            raise ValueError(f"got image_shape={self.image_shape}; expected (height, width, channels), each above zero")
        for name in ("depth", "base_channels", "latent_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"got {name}={getattr(self, name)}; expected at least 1")
        height, width, _ = self.image_shape
        step = 2**self.depth
        if height % step or width % step:
            raise ValueError(
                f"got image_shape={self.image_shape} with depth={self.depth}; expected height and width to be "
                f"multiples of 2**{self.depth} = {step}; crop or pad the images, or lower the depth"
            )
        for name, choices in (
            ("initializer", Initializer),
            ("lowering", Lowering),
            ("precision", Precision),
        ):
            if getattr(self, name) not in typing.get_args(choices):
                raise ValueError(
                    f"got {name}={getattr(self, name)!r}; expected one of {list(typing.get_args(choices))}"
                )
        if not 0.0 <= self.batch_norm_momentum < 1.0:
            raise ValueError(f"got batch_norm_momentum={self.batch_norm_momentum}; expected 0 <= value < 1")
        if not self.batch_norm_epsilon > 0.0:
            raise ValueError(f"got batch_norm_epsilon={self.batch_norm_epsilon}; expected a value above zero")

    @property
    def bottom_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the deepest feature map."""
        height, width, _ = self.image_shape
        step = 2**self.depth
        return height // step, width // step, self.base_channels * 2 ** (self.depth - 1)


@jit_once
def init_variables(model: Any, key: PRNGKey) -> Variables:
    """`model.init`, in one program: op by op, a first call compiles some hundred small ones.

    The model is an argument of it, so that the next seed of an equal one compiles nothing.

    >>> import jax, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> sorted(init_variables(model, jax.random.key(0)))
    ['batch_stats', 'params']
    """
    return model.init(key, jnp.zeros((1, *model.config.image_shape), jnp.float32))


class Folded(NamedTuple):
    """A layer's weights when scoring: the batch normalisation after it is a factor on the kernel, and the bias.

    Attributes:
      kernel: what `conv` or `conv_transpose` takes, or the matrix of a dense layer.
      bias: `[features]`.
    """

    kernel: Array | Prepared
    bias: Array


class Convolution(nn.Module):
    """A 4x4 convolution of stride 2 and padding 1 that halves height and width, or its transpose that doubles them.

    With `normalize`, batch normalisation and ReLU follow; without, a bias.

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

        def prepare_kernel(kernel: Array) -> Prepared:
            if on_platform(self.config.lowering, jax.default_backend()) == "native":
                return Prepared(kernel, None)
            outputs = (height, width) if self.transpose else (height // 2, width // 2)
            return prepare(kernel, outputs, transpose=self.transpose)

        return _layer(self, x, kernel, self._apply, prepare_kernel, train=train, axis=0 if self.planes else -1)

    def _apply(self, x: Array, kernel: Array | Prepared) -> Array:
        lowering, dtype = self.config.lowering, self.config.precision
        if self.transpose:
            return conv_transpose(x, kernel, lowering=lowering, dtype=dtype, planes=self.planes)
        return conv(x, kernel, lowering=lowering, dtype=dtype)

    def _kernel_init(self) -> Any:
        init = getattr(nn.initializers, self.config.initializer)()
        # Each output of the transposed layer sums 2x2 taps of 4x4, so its variance is a quarter of what the
        # initializer reckons with.
        scale = self.scale * (2.0 if self.transpose else 1.0)

        def scaled(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
            return scale * init(key, shape, dtype)

        return scaled


class Dense(nn.Module):
    """A fully connected layer, with batch normalisation and ReLU over the channels of the map that it makes, or a bias.

    Attributes:
      config: how to start and to compute.
      features: shape of what one input makes: units, or height, width and channels.
      normalize: batch normalisation and ReLU in place of a bias.
    """

    config: NetworkConfig
    features: tuple[int, ...]
    normalize: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "batch units"], *, train: bool = False) -> Float[Array, "batch ..."]:
        # He's for ReLU, else the variance is kept as it is.
        init = getattr(nn.initializers, self.config.initializer if self.normalize else "lecun_normal")()
        kernel = self.param("kernel", init, (x.shape[-1], math.prod(self.features)), jnp.float32)
        return _layer(self, x, kernel, self._apply, lambda kernel: kernel, train=train)

    def _apply(self, x: Array, kernel: Array) -> Array:
        dtype = jnp.dtype(self.config.precision)
        y = jnp.matmul(x.astype(dtype), kernel.astype(dtype), preferred_element_type=jnp.float32)
        return y.reshape(-1, *self.features)


def _fold(module: Any, kernel: Array, bias: Array, prepare: Callable[[Array], Any]) -> Folded:
    """The folded weights: those that `fold` made, or made here; `fold` makes the collection `folded` mutable."""
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
    """Linear map, then batch normalisation and ReLU or a bias, in the scope of a `Convolution` or a `Dense`.

    `axis` is that of the channels in what `apply` returns; with batch normalisation it is the last.
    """
    config = module.config
    channels = module.features[-1] if isinstance(module.features, tuple) else module.features

    def vector(name: str, init: Any) -> Array:
        return module.param(name, init, (channels,), jnp.float32)

    bias = vector("bias", nn.initializers.zeros_init())
    if not module.normalize:
        folded = _fold(module, kernel, bias, prepare)
        return _add(apply(x, folded.kernel), folded.bias, axis)
    scale = vector("scale", nn.initializers.ones_init())
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


class Encoder(nn.Module):
    """Images to the parameters of the posterior: `depth` convolutions, then one fully connected layer.

    Attributes:
      config: sizes.
      features: units of the fully connected layer, 2 N_z for a VAE.
    """

    config: NetworkConfig
    features: int

    @nn.compact
    def __call__(self, images: Images, *, train: bool = False) -> Float[Array, "batch features"]:
        config = self.config
        x = images
        for layer in range(config.depth):
            x = Convolution(config, config.base_channels * 2**layer)(x, train=train)
        return Dense(config, (self.features,))(x.reshape(x.shape[0], -1), train=train)


class Decoder(nn.Module):
    """Latent points to images: the encoder's mirror.

    One fully connected layer to the deepest feature map, then `depth` transposed convolutions; every layer but the
    last is followed by batch normalisation and ReLU. With `planes` the images come as `convolution.to_planes` makes
    them, which is how a CPU scores them faster.

    Attributes:
      config: sizes.
      features: channels of the output, twice the image's for a VAE.
    """

    config: NetworkConfig
    features: int

    @nn.compact
    def __call__(
        self, z: Latents, *, train: bool = False, planes: bool = False
    ) -> Float[Array, "batch height width features"] | Float[Array, "features 4 batch pixels"]:
        config = self.config
        x = Dense(config, config.bottom_shape, normalize=True)(z, train=train)
        for layer in reversed(range(config.depth - 1)):
            x = Convolution(config, config.base_channels * 2**layer, transpose=True)(x, train=train)
        # A tenth, so that training starts from gray with the starting variance and not from noise of 0..1.
        last = Convolution(config, self.features, transpose=True, normalize=False, scale=0.1, planes=planes)
        return last(x, train=train)


# float32 reaches from exp(-87) to exp(88).
LARGEST_EXPONENT = 80.0
# Between the bounds, so that exp(high - low) is far below the exponential of the above.
SOFT_CLIP_MAX_WIDTH = 60.0


def soft_clip(x: Float[Array, "*shape"], low: float, high: float) -> Float[Array, "*shape"]:
    """Bound `x` smoothly to (low, high); close to the identity inside, and its gradient nowhere zero.

    `low + softplus(x' - low)` with `x' = high - softplus(high - x)`, as Chua et al. (2018) bound log-variances. It is
    computed as `low + log(1 + exp(high - low) / (1 + exp(high - x)))`, which is the same with half of the exponentials,
    for bounds at most `SOFT_CLIP_MAX_WIDTH` apart.

    >>> import jax.numpy as jnp
    >>> soft_clip(jnp.array([-1e3, 0.0, 1e3]), -10.0, 10.0).round(3).tolist()
    [-10.0, 0.0, 10.0]
    """
    return soft_clip_with_inverse(x, low, high)[0]


@partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def soft_clip_with_inverse(
    x: Float[Array, "*shape"], low: float, high: float
) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """`y = soft_clip(x, low, high)` and `exp(-y)`, for which the exponential of the first is enough.

    >>> import jax.numpy as jnp
    >>> y, inverse = soft_clip_with_inverse(jnp.array([-1e3, 0.0, 1e3]), -10.0, 10.0)
    >>> bool(jnp.allclose(inverse, jnp.exp(-y)))
    True
    """
    raised = 1.0 + _lifted(x, low, high)
    # Not exp(-low) in one factor, which can overflow where exp(-y) does not.
    return low + jnp.log(raised), math.exp(-high) / (raised * math.exp(low - high))


@soft_clip_with_inverse.defjvp
def _soft_clip_jvp(
    low: float, high: float, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    # sigmoid(high - x) sigmoid(x' - low): derived from the above, it would be zero from high + 17 on.
    lifted = _lifted(*primals, low, high)
    slope = jax.nn.sigmoid(high - primals[0]) * lifted / (1.0 + lifted)
    y, inverse = soft_clip_with_inverse(*primals, low, high)
    return (y, inverse), (slope * tangents[0], -inverse * slope * tangents[0])


def _lifted(x: Array, low: float, high: float) -> Array:
    """`exp(x' - low)`."""
    # Not by a sigmoid, which not every runtime computes to the last digit where it is small. Bounded, for an infinity
    # has no derivative.
    return math.exp(high - low) / (1.0 + jnp.exp(jnp.minimum(high - x, LARGEST_EXPONENT)))


def inverse_soft_clip(y: np.ndarray, low: float, high: float) -> np.ndarray:
    """What `soft_clip` bounds to `y`, or to within a twentieth of the bound where `y` is nearer to it or beyond.

    >>> import numpy as np
    >>> inverse_soft_clip(np.array([-100.0, 1.0]), -10.0, 10.0).round(2).tolist()
    [-12.97, 1.0]
    """
    inside = np.clip(y, low + 0.05, high - 0.05)
    lifted = low + np.log(np.expm1(inside - low))
    return high - np.log(np.expm1(high - lifted))
