"""Encoder and decoder of the paper."""

from flax import linen as nn
from jaxtyping import Array, Float

from jaxunreg.nn.config import NetworkConfig
from jaxunreg.nn.layers import Convolution, Dense
from jaxunreg.typing import Images, Latents


class Encoder(nn.Module):
    """The encoder, from images to the parameters of the posterior: `depth` convolutions and one fully connected layer.

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
    """The decoder, from latent points to images: the encoder's mirror.

    One fully connected layer makes the deepest feature map, and `depth` transposed convolutions follow. Batch
    normalisation and ReLU follow every layer but the last. With `planes` the images come as `planes.to_planes` makes
    them, because a CPU scores those faster.

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
        # A tenth, so that training starts from gray with the starting variance, and not from noise between 0 and 1.
        last = Convolution(config, self.features, transpose=True, normalize=False, scale=0.1, planes=planes)
        return last(x, train=train)
