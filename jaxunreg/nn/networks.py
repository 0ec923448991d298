"""Encoder and decoder of the paper."""

from collections.abc import Callable

from flax import linen as nn
from jaxtyping import Array, Float

from jaxunreg.nn.config import NetworkConfig
from jaxunreg.nn.layers import Convolution, Dense
from jaxunreg.typing import Images, Latents

# The weights between smaller maps are large. So those layers take all images at once.
_POSITIONS_OF_A_LARGE_MAP = 64


class Encoder(nn.Module):
    """The encoder, from images to the parameters of the posterior: `depth` convolutions and one fully connected layer.

    Attributes:
      config: sizes.
      features: units of the fully connected layer, 2 N_z for a VAE.
      part: how many images the layers with large maps take at a time when they score; by default all.
    """

    config: NetworkConfig
    features: int
    part: int | None = None

    @nn.compact
    def __call__(self, images: Images, *, train: bool = False) -> Float[Array, "batch features"]:
        config = self.config

        def convolve(x: Array, layers: range) -> Array:
            for layer in layers:
                convolution = Convolution(config, config.base_channels * 2**layer, name=f"Convolution_{layer}")
                x = convolution(x, train=train)
            return x

        large = _layers_with_large_maps(config)
        x = _in_parts(self, lambda some: convolve(some, range(large)), images, None if train else self.part)
        x = convolve(x, range(large, config.depth))
        return Dense(config, (self.features,))(x.reshape(x.shape[0], -1), train=train)


class Decoder(nn.Module):
    """The decoder, from latent points to images: the encoder's mirror.

    One fully connected layer makes the deepest feature map, and `depth` transposed convolutions follow. Batch
    normalisation and ReLU follow every layer but the last. With `planes` the images come as `planes.to_planes` makes
    them, because a CPU scores those faster.

    Attributes:
      config: sizes.
      features: channels of the output, twice the image's for a VAE.
      part: as for `Encoder`.
    """

    config: NetworkConfig
    features: int
    part: int | None = None

    @nn.compact
    def __call__(
        self, z: Latents, *, train: bool = False, planes: bool = False
    ) -> Float[Array, "batch height width features"] | Float[Array, "features 4 batch pixels"]:
        config = self.config
        channels = [*(config.base_channels * 2**layer for layer in reversed(range(config.depth - 1))), self.features]
        # A tenth, so that training starts from gray with the starting variance, and not from noise between 0 and 1.
        last = {"normalize": False, "scale": 0.1, "planes": planes}

        def convolve(x: Array, layers: range) -> Array:
            for layer in layers:
                how = last if layer == config.depth - 1 else {}
                convolution = Convolution(config, channels[layer], transpose=True, name=f"Convolution_{layer}", **how)
                x = convolution(x, train=train)
            return x

        x = Dense(config, config.bottom_shape, normalize=True)(z, train=train)
        deep = config.depth - _layers_with_large_maps(config)
        x = convolve(x, range(deep))
        part, axis = (None if train else self.part), (2 if planes else 0)
        return _in_parts(self, lambda some: convolve(some, range(deep, config.depth)), x, part, axis)


def _layers_with_large_maps(config: NetworkConfig) -> int:
    """Return how many layers of the encoder make large maps. As many of the decoder take large maps."""
    height, width, _ = config.image_shape
    sizes = ((height >> layer) * (width >> layer) for layer in range(1, config.depth + 1))
    return sum(size >= _POSITIONS_OF_A_LARGE_MAP for size in sizes)


def _in_parts(
    module: nn.Module, function: Callable[[Array], Array], x: Array, part: int | None, axis: int = 0
) -> Array:
    """Apply layers of a module to `part` images at a time, if that divides them.

    Args:
      module: the module whose variables the layers use.
      function: the layers.
      x: `[n, ...]`.
      part: how many of the n images to take at a time; None for all.
      axis: axis of the images in the result.
    """
    if part is None or len(x) <= part or len(x) % part:
        return function(x)
    scan = nn.scan(
        lambda _, carry, some: (carry, function(some)), variable_broadcast=True, split_rngs={}, out_axes=axis
    )
    _, parts = scan(module, None, x.reshape(-1, part, *x.shape[1:]))
    return parts.reshape(*parts.shape[:axis], len(x), *parts.shape[axis + 2 :])
