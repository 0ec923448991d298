"""The autoencoder of the paper: the VAE's body with point estimates and the mean squared error."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxunreg.decomposition import AllTerms, Decomposition
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.models.linear_start import linear_autoencoder
from jaxunreg.models.network_model import NetworkModel
from jaxunreg.models.registry import register_model
from jaxunreg.nn.config import NetworkConfig
from jaxunreg.nn.networks import Decoder, Encoder
from jaxunreg.typing import AnyImages, Images, Latents, PRNGKey, Variables


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(NetworkConfig):
    """Everything that shapes an `Autoencoder`; see `NetworkConfig`.

    >>> AutoencoderConfig(image_shape=(32, 32, 3)).latent_dim
    500
    """


class Autoencoder(NetworkModel):
    """Autoencoder (section V.A): `L(x) = 1/N_x sum_i (x_i - x~_i)^2` is objective and anomaly score.

    It has the VAE's methods, so the same code trains and scores both. It has no density, so D and A are zero, and M is
    the mean squared error, in squared intensities instead of nats.

    Attributes:
      config: sizes.

    >>> import jax, jax.numpy as jnp
    >>> model = Autoencoder(AutoencoderConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jnp.zeros((2, 8, 8, 1))
    >>> variables = model.init(jax.random.key(0), images)
    >>> model.apply(variables, images, method=model.terms).a.tolist()
    [0.0, 0.0]
    """

    config: AutoencoderConfig

    @property
    def unit(self) -> str:
        """Empty: M is in squared intensities."""
        return ""

    def setup(self) -> None:
        self.encoder = Encoder(self.config, self.config.latent_dim, self.part)
        self.decoder = Decoder(self.config, self.config.image_shape[-1], self.part)

    def encode(self, images: Images, *, train: bool = False) -> Latents:
        """Return the point estimate of the latent variable, `[batch, latent]`."""
        return self.encoder(images, train=train)

    def decode(self, z: Latents, *, train: bool = False) -> Images:
        """Return the reconstruction, `[batch, height, width, channels]`."""
        return self.decoder(z, train=train) + 0.5

    def __call__(self, images: Images) -> tuple[Latents, Images]:
        """Return latent points and reconstructions; deterministic."""
        z = self.encode(images)
        return z, self.decode(z)

    def terms(self, images: Images) -> Decomposition:
        """Return the mean squared error of each image as M, `[batch]`, with D and A zero; deterministic."""
        return _squared_error_terms(images, self.reconstruct(images))

    def pixel_terms(self, images: Images) -> Decomposition:
        """Return each pixel's part of the mean squared error as M, `[batch, height, width]`, with D and A zero."""
        return self._pixel_terms(images, self.reconstruct(images))

    def all_terms(self, images: Images) -> AllTerms:
        """`terms` and `pixel_terms` from one forward pass."""
        reconstructions = self.reconstruct(images)
        by_image = _squared_error_terms(images, reconstructions)
        # The barrier keeps XLA from fusing this with the sums over images: they would be rounded differently.
        images, reconstructions = jax.lax.optimization_barrier((images, reconstructions))
        return AllTerms(by_image, self._pixel_terms(images, reconstructions))

    def _pixel_terms(self, images: Images, reconstructions: Images) -> Decomposition:
        m = jnp.sum(jnp.square(images - reconstructions), axis=-1) / math.prod(self.config.image_shape)
        return Decomposition(d=jnp.zeros_like(m), a=jnp.zeros_like(m), m=m)

    def training_terms(self, images: Images, key: PRNGKey, *, train: bool = True) -> Decomposition:
        """Return the same. With `train`, normalise by the batch's statistics. `key` is not used: nothing is sampled."""
        del key
        z = self.encode(images, train=train)
        return _squared_error_terms(images, self.decode(z, train=train))

    def reconstruct(self, images: Images) -> Images:
        """Return the reconstructions, `[batch, height, width, channels]`."""
        return self(images)[1]

    @nn.nowrap
    def linear_start(self, images: AnyImages, key: PRNGKey, *, level: bool = False) -> Variables:
        """Return the variables of a PCA; see `jaxunreg.models.linear_start.linear_autoencoder`.

        Raises:
          ArgumentError: `level`, since an autoencoder has one sigma for all images.
        """
        if level:
            raise ArgumentError(
                f"{argument('start', 'linear_level')} with an Autoencoder",
                "a model whose sigma depends on the image",
                f"use {argument('start', 'linear')}",
            )
        return linear_autoencoder(self, images, key)


def _squared_error_terms(images: Images, reconstructions: Images) -> Decomposition:
    m = jnp.mean(jnp.square(images - reconstructions), axis=(1, 2, 3))
    return Decomposition(d=jnp.zeros_like(m), a=jnp.zeros_like(m), m=m)


register_model("autoencoder", Autoencoder, AutoencoderConfig)
