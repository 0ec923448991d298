"""The variational autoencoder of the paper: encoder, decoder, and the three terms of its negative ELBO."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from jaxunreg.decomposition import (
    AllTerms,
    Decomposition,
    decompose_gaussian,
    half_squared_distance,
    kl_to_standard_normal,
    log_normalizer,
)
from jaxunreg.models.base import Model
from jaxunreg.models.latent_space import Gaussian, LatentSpace
from jaxunreg.models.linear_start import linear_vae
from jaxunreg.models.network_model import NetworkModel
from jaxunreg.models.registry import register_model
from jaxunreg.models.vae_config import VAEConfig
from jaxunreg.nn.networks import Decoder, Encoder
from jaxunreg.nn.planes import from_planes, to_planes
from jaxunreg.nn.soft_clip import soft_clip, soft_clip_with_inverse
from jaxunreg.typing import AnyImages, Images, Latents, PRNGKey, Variables


class VAE(NetworkModel):
    """Variational autoencoder with Gaussian posterior and Gaussian likelihood (section III.A of the paper).

    `init(key, images)` makes the variables; `apply(variables, images, method=...)` runs a method. All methods take
    a batch. For one image, and for composing, see `jaxunreg.decompose` and `jaxunreg.make_scorer`.

    Attributes:
      config: sizes and bounds.
      latent_space: changes the posterior or its noise. The default changes neither.

    References:
      Kingma, D. P. and Welling, M. Auto-Encoding Variational Bayes. ICLR 2014.

    >>> import jax, jax.numpy as jnp
    >>> model = VAE(VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jnp.zeros((2, 8, 8, 1))
    >>> variables = model.init(jax.random.key(0), images)
    >>> model.apply(variables, images, method=model.terms).nelbo.shape
    (2,)
    """

    config: VAEConfig
    latent_space: LatentSpace = LatentSpace()

    def setup(self) -> None:
        self.encoder = Encoder(self.config, 2 * self.config.latent_dim, self.part)
        self.decoder = Decoder(self.config, 2 * self.config.image_shape[-1], self.part)

    def encode(self, images: Images, *, train: bool = False) -> Gaussian:
        """Return the posterior `q(z|x)`: mean and log-variance, each `[batch, latent]`."""
        config = self.config
        mean, log_var = jnp.split(self.encoder(images, train=train), 2, axis=-1)
        log_var = soft_clip(log_var + config.z_log_var_init, config.z_log_var_min, config.z_log_var_max)
        return self.latent_space.restrict(Gaussian(mean, log_var))

    def decode(self, z: Latents, *, train: bool = False) -> Gaussian:
        """Return the likelihood `p(x|z)`: mean and log-variance, each `[batch, height, width, channels]`."""
        parts = jnp.split(self.decoder(z, train=train), 2, axis=-1)
        # Apart and flat, because a CPU works on a last axis of few channels element by element. The barrier keeps XLA
        # from undoing it.
        flat = jax.lax.optimization_barrier(tuple(part.reshape(len(z), -1) for part in parts))
        mean, log_var, _ = self._likelihood(*flat)
        return Gaussian(mean.reshape(parts[0].shape), log_var.reshape(parts[0].shape))

    def _likelihood(self, mean: Array, log_var: Array) -> tuple[Array, Array, Array]:
        """Return mean, log-variance and inverse variance, from the two halves of the decoder's output."""
        config = self.config
        log_var = log_var + config.x_log_var_init
        # The mean starts at mid-gray, so that the first steps are not spent on the brightness.
        return mean + 0.5, *soft_clip_with_inverse(log_var, config.x_log_var_min, config.x_log_var_max)

    def __call__(self, images: Images) -> tuple[Gaussian, Gaussian]:
        """Return the posterior, and the likelihood at the posterior mean; deterministic."""
        posterior = self.encode(images)
        return posterior, self.decode(posterior.mean)

    def terms(self, images: Images) -> Decomposition:
        """Return D, A and M (eq. 5 and 6) of each image at the posterior mean, `[batch]`, in nats; deterministic."""
        if images.shape[0] == 1:
            # `vmap` over images comes here too: it would move planes back and forth.
            posterior, likelihood = self(images)
            return jax.vmap(decompose_gaussian)(images, *likelihood, *posterior)
        posterior = self.encode(images)
        return self._image_terms(images, posterior, self.decoder(posterior.mean, planes=True))

    def all_terms(self, images: Images) -> AllTerms:
        """Return `terms` and `pixel_terms` from one forward pass. The terms of the images are the same to the bit."""
        if images.shape[0] == 1:
            posterior, likelihood = self(images)
            by_image = jax.vmap(decompose_gaussian)(images, *likelihood, *posterior)
            return AllTerms(by_image, self._pixel_terms(images, posterior, likelihood))
        posterior = self.encode(images)
        planes = self.decoder(posterior.mean, planes=True)
        by_image = self._image_terms(images, posterior, planes)
        height, width, _ = self.config.image_shape
        # The barrier keeps XLA from fusing this with the sums over images: they would be rounded differently.
        images, planes, d = jax.lax.optimization_barrier((images, planes, by_image.d))
        mean, log_var, inverse_var = self._likelihood(*jnp.split(planes, 2, axis=0))

        def summed(by_channel: Array) -> Array:
            return from_planes(jnp.sum(by_channel, axis=0, keepdims=True), height, width)[..., 0]

        by_pixel = Decomposition(
            d=self._spread(d),
            a=summed(log_normalizer(log_var)),
            m=summed(0.5 * jnp.square(to_planes(images) - mean) * inverse_var),
        )
        return AllTerms(by_image, by_pixel)

    def _image_terms(self, images: Images, posterior: Gaussian, planes: Array) -> Decomposition:
        """Return the result of `terms`, from planes. A CPU computes planes faster; sums need no order of pixels."""
        mean, log_var, inverse_var = self._likelihood(*jnp.split(planes, 2, axis=0))
        by_image = jax.vmap(decompose_gaussian, in_axes=(2, 2, 2, 0, 0, 2))
        return by_image(to_planes(images), mean, log_var, *posterior, inverse_var)

    def pixel_terms(self, images: Images) -> Decomposition:
        """D, A and M of each pixel at the posterior mean, `[batch, height, width]`, in nats; their sums are `terms`.

        A and M are summed over channels. D does not belong to pixels, so it is spread evenly over them.
        """
        return self._pixel_terms(images, *self(images))

    def _pixel_terms(self, images: Images, posterior: Gaussian, likelihood: Gaussian) -> Decomposition:
        return Decomposition(
            d=self._spread(jnp.sum(kl_to_standard_normal(posterior.mean, posterior.log_var), axis=-1)),
            a=jnp.sum(log_normalizer(likelihood.log_var), axis=-1),
            m=jnp.sum(half_squared_distance(images, likelihood.mean, likelihood.log_var), axis=-1),
        )

    def _spread(self, d: Float[Array, " batch"]) -> Float[Array, "batch height width"]:
        """Return D of each image, in equal parts for its pixels."""
        height, width, _ = self.config.image_shape
        return jnp.broadcast_to(d.reshape(-1, 1, 1) / (height * width), (len(d), height, width))

    def training_terms(self, images: Images, key: PRNGKey, *, train: bool = True) -> Decomposition:
        """Return D, A and M of each image at one reparameterised sample, `[batch]`, in nats.

        With `train` it normalises by the statistics of the batch and updates their running averages (collection
        `batch_stats`). Without it, it normalises by the running averages. The mean of `d + a + m` is the training
        objective, the negative ELBO of eq. 4.
        """
        posterior = self.encode(images, train=train)
        noise = self.latent_space.noise(key, posterior.mean.shape, posterior.mean.dtype)
        z = posterior.mean + jnp.exp(0.5 * posterior.log_var) * noise
        likelihood = self.decode(z, train=train)
        return jax.vmap(decompose_gaussian)(images, *likelihood, *posterior)

    def reconstruct(self, images: Images) -> Images:
        """Return `mu_x` at the posterior mean, `[batch, height, width, channels]`."""
        return self(images)[1].mean

    @nn.nowrap
    def with_latent_space(self, latent_space: LatentSpace) -> Model:
        """Return the same model in another latent space."""
        return self.clone(latent_space=latent_space)

    @nn.nowrap
    def linear_start(self, images: AnyImages, key: PRNGKey, *, level: bool = False) -> Variables:
        """Return the variables of probabilistic PCA; see `jaxunreg.models.linear_start.linear_vae`."""
        return linear_vae(self, images, key, level=level)


register_model("vae", VAE, VAEConfig)
