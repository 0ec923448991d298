"""The paper's convolutional encoder and decoder (section V.A), as flax.linen modules built from a config."""

import typing
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxunreg.convolution import Lowering, conv, conv_transpose
from jaxunreg.typing import Images, Latents

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
        for name, choices in (("initializer", Initializer), ("lowering", Lowering)):
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


class Convolution(nn.Module):
    """A 4x4 convolution of stride 2 and padding 1 that halves height and width, or its transpose that doubles them.

    Attributes:
      features: output channels.
      transpose: double instead of halve.
      use_bias: add a bias; pointless before batch normalisation, which subtracts it again.
      initializer: see `NetworkConfig`.
      scale: factor on the starting kernel.
      lowering: see `NetworkConfig`.
    """

    features: int
    transpose: bool = False
    use_bias: bool = False
    initializer: Initializer = "he_normal"
    scale: float = 1.0
    lowering: Lowering = "auto"

    @nn.compact
    def __call__(self, x: Float[Array, "batch height width channels"]) -> Float[Array, "batch rows columns features"]:
        kernel = self.param("kernel", self._kernel_init(), (4, 4, x.shape[-1], self.features), jnp.float32).astype(
            x.dtype
        )
        apply = conv_transpose if self.transpose else conv
        y = apply(x, kernel, lowering=self.lowering)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros_init(), (self.features,), jnp.float32)
            y = y + bias.astype(y.dtype).reshape(1, 1, 1, -1)
        return y

    def _kernel_init(self) -> Any:
        init = getattr(nn.initializers, self.initializer)()
        # Each output of the transposed layer sums 2x2 taps of 4x4, so its variance is a quarter of what the
        # initializer reckons with.
        scale = self.scale * (2.0 if self.transpose else 1.0)

        def scaled(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
            return scale * init(key, shape, dtype)

        return scaled


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
            x = Convolution(config.base_channels * 2**layer, initializer=config.initializer, lowering=config.lowering)(
                x
            )
            x = nn.relu(_batch_norm(config, train)(x))
        x = x.reshape(x.shape[0], -1)
        return nn.Dense(self.features, kernel_init=nn.initializers.lecun_normal())(x)


class Decoder(nn.Module):
    """Latent points to images: the encoder's mirror.

    One fully connected layer to the deepest feature map, then `depth` transposed convolutions; every layer but the
    last is followed by batch normalisation and ReLU.

    Attributes:
      config: sizes.
      features: channels of the output, twice the image's for a VAE.
    """

    config: NetworkConfig
    features: int

    @nn.compact
    def __call__(self, z: Latents, *, train: bool = False) -> Float[Array, "batch height width features"]:
        config = self.config
        height, width, channels = config.bottom_shape
        kernel_init = getattr(nn.initializers, config.initializer)()
        x = nn.Dense(height * width * channels, use_bias=False, kernel_init=kernel_init)(z)
        x = x.reshape(-1, height, width, channels)
        x = nn.relu(_batch_norm(config, train)(x))
        for layer in reversed(range(config.depth - 1)):
            x = Convolution(
                config.base_channels * 2**layer,
                transpose=True,
                initializer=config.initializer,
                lowering=config.lowering,
            )(x)
            x = nn.relu(_batch_norm(config, train)(x))
        # A tenth, so that training starts from gray with the starting variance and not from noise of 0..1.
        return Convolution(
            self.features,
            transpose=True,
            use_bias=True,
            initializer=config.initializer,
            scale=0.1,
            lowering=config.lowering,
        )(x)


def _batch_norm(config: NetworkConfig, train: bool) -> nn.BatchNorm:
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=config.batch_norm_momentum,
        epsilon=config.batch_norm_epsilon,
    )


def soft_clip(x: Float[Array, "*shape"], low: float, high: float) -> Float[Array, "*shape"]:
    """Bound `x` smoothly to (low, high); close to the identity inside, and its gradient nowhere zero.

    `low + softplus(x' - low)` with `x' = high - softplus(high - x)`, as Chua et al. (2018) bound log-variances.

    >>> import jax.numpy as jnp
    >>> soft_clip(jnp.array([-1e3, 0.0, 1e3]), -10.0, 10.0).round(3).tolist()
    [-10.0, 0.0, 10.0]
    """
    x = high - jax.nn.softplus(high - x)
    return low + jax.nn.softplus(x - low)
