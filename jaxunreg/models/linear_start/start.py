"""A linear autoencoder, and a linear VAE, written into the weights of a model."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.images import check_images, to_float
from jaxunreg.models.base import init_variables
from jaxunreg.models.linear_start.block_pca import Level, block_pca, leading, linear_channels, reconstruct
from jaxunreg.models.linear_start.decoder import write_decoder
from jaxunreg.models.linear_start.encoder import write_encoder, write_latent_means
from jaxunreg.models.linear_start.level import (
    check_room,
    level_channels,
    level_dimensions,
    write_histogram,
    write_level,
    write_level_channels,
)
from jaxunreg.models.linear_start.random_features import measure_random_features
from jaxunreg.models.linear_start.variances import (
    encoded,
    regress_log_variance,
    regress_posterior_variance,
    write_posterior_variance,
)
from jaxunreg.models.network_model import NetworkModel
from jaxunreg.nn.config import NetworkConfig
from jaxunreg.typing import AnyImages, PRNGKey, Variables

PIXELS = 2**25
"""How many pixel values of the training images are used. More do not change the leading components much."""


class _LinearFit(NamedTuple):
    """PCA of the training images, in layers of blocks and then of the deepest map."""

    levels: list[Level]
    codes: np.ndarray  # [n, used]
    eigenvalues: np.ndarray  # [used], of the second moments of the deepest map
    vectors: np.ndarray  # [deepest map, used], orthonormal columns
    missed: np.ndarray  # [n], mean squared error of a pixel
    noise: float  # residual variance of a pixel of a typical image


def linear_autoencoder(model: NetworkModel, images: AnyImages, key: PRNGKey) -> Variables:
    """Return the variables of an `Autoencoder` that reconstructs by a PCA, with running averages to match.

    Args:
      model: an `Autoencoder`.
      images: training images `[N, height, width, channels]` of the model's size; uint8, or floating point in [0, 1]. If
        they have more than `PIXELS` values in all, evenly spaced images are used.
      key: PRNG key of the random features.

    Returns:
      `{"params": ..., "batch_stats": ...}` as `model.init` makes them. If there are more latent dimensions than the
      linear channels can carry, the others start without meaning, with a weight of a hundredth in the decoder.

    Raises:
      ArgumentError, ArgumentTypeError: the images do not have the model's shape, dtype or range, there are fewer than
        two, or the network has one base channel.
    """
    x = _looked_at(model.config, images)
    variables = jax.tree.map(np.array, init_variables(model, key))
    fit = _fit(model.config, x, model.config.latent_dim)
    _write_means(model.config, variables, fit, np.sqrt(fit.eigenvalues), x)
    measure_random_features(model, variables, x, key)
    return jax.tree.map(jnp.asarray, variables)


def linear_vae(model: NetworkModel, images: AnyImages, key: PRNGKey, *, level: bool = False) -> Variables:
    """Return the variables of a `VAE` that is a probabilistic PCA, with running averages to match.

    A latent variable with eigenvalue lambda (of the second moments) gets the posterior of probabilistic PCA,
    `N(sqrt(lambda - s^2) / lambda v.x, s^2 / lambda)` with `s^2` the residual variance of a pixel.

    Args:
      model: a `VAE`.
      images: as in `linear_autoencoder`.
      key: PRNG key of the random features.
      level: let the last few latent variables tell how large the residual is, and sigma follow them; see
        `linear_start.level`.

    Returns:
      `{"params": ..., "batch_stats": ...}`, as in `linear_autoencoder`.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `linear_autoencoder`, or there is no room for a level.

    References:
      Tipping, M. E. and Bishop, C. M. Probabilistic Principal Component Analysis. JRSS B 61, 1999.
      Lucas, J. et al. Don't Blame the ELBO! A Linear VAE Perspective on Posterior Collapse. NeurIPS 2019.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=8, latent_dim=2))
    >>> codes = jax.random.uniform(jax.random.key(1), (500, 2)) - 0.5  # images of two dimensions
    >>> images = 0.5 + jnp.einsum("nz,zhwc->nhwc", codes, jax.random.uniform(jax.random.key(2), (2, 8, 8, 1)) - 0.5)
    >>> variables = linear_vae(model, images, jax.random.key(0))
    >>> error = ju.reconstruct_images(ju.make_scorer(model, variables), images) - images
    >>> bool(jnp.std(error) < 0.5 * jnp.std(images))  # but for what the blocks do not hold
    True
    """
    config: Any = model.config
    if level:
        check_room(config)
    x = _looked_at(config, images)
    variables = jax.tree.map(np.array, init_variables(model, key))
    fit = _fit(config, x, config.latent_dim - (level_dimensions(config) if level else 0))
    _write_means(config, variables, fit, np.sqrt(np.maximum(fit.eigenvalues - fit.noise, 1e-6 * fit.eigenvalues)), x)
    dense = variables["params"]["encoder"]["Dense_0"]
    write_posterior_variance(dense, config, fit.noise / fit.eigenvalues)
    if level:
        write_histogram(variables["params"]["encoder"], config, fit.levels)
        write_level_channels(variables["params"]["decoder"], config)
        measure_random_features(model, variables, x, key)
        write_level(dense, config, encoded(model, variables, x))
    # Again where there is a level, whose channel the decoder normalises by what the encoder now finds.
    measure_random_features(model, variables, x, key)
    regress_posterior_variance(model, variables, x, fit.missed, fit.noise, len(fit.eigenvalues))
    regress_log_variance(model, variables, x, key, level=level_channels(config) if level else None)
    return jax.tree.map(jnp.asarray, variables)


def _looked_at(config: NetworkConfig, images: AnyImages) -> np.ndarray:
    """Return the images to which the start is fitted, float32, in random order."""
    check_images(images, (None, *config.image_shape))
    if len(images) < 2:
        raise ArgumentError(
            f"{len(images)} image", "at least 2 to take a PCA of", f"add images, or use {argument('start', 'random')}"
        )
    if config.base_channels < 2:
        raise ArgumentError(
            argument("base_channels", config.base_channels),
            "at least 2 for a linear start",
            f"raise {argument('base_channels')}, or use {argument('start', 'random')}",
        )
    count = min(len(images), max(2, PIXELS // int(np.prod(config.image_shape))))
    chosen = np.linspace(0, len(images) - 1, count).astype(int)
    # In random order, because some steps are fitted to the first images alone. These must stand for all images, even if
    # the files are sorted by kind or the crops by image.
    return np.asarray(to_float(images[np.random.default_rng(0).permutation(chosen)]))


def _fit(config: NetworkConfig, x: np.ndarray, components: int) -> _LinearFit:
    levels: list[Level] = []
    for channels in linear_channels(config):
        levels.append(block_pca(levels[-1].features if levels else x, channels))
    flat = levels[-1].features.reshape(len(x), -1)
    used = min(components, flat.shape[1], len(x) - 1)
    eigenvalues, vectors = leading(flat.T @ flat / len(x), used)
    codes = flat @ vectors
    missed = np.mean(np.square(x - reconstruct(levels, codes @ vectors.T)), axis=(1, 2, 3))
    # The geometric mean stands for a typical image, since sigma_x will depend on the image. The residual lacks the
    # noise of the latent dimensions.
    noise = float(np.exp(np.mean(np.log(missed + 1e-12)))) * x[0].size / max(x[0].size - used, 1)
    return _LinearFit(levels, codes, np.maximum(eigenvalues, 1e-12), vectors, missed, noise)


def _write_means(
    config: NetworkConfig, variables: Variables, fit: _LinearFit, spread: np.ndarray, x: np.ndarray
) -> None:
    """Write all weights of the encoder and the decoder, except those of the variances.

    Args:
      config: sizes.
      variables: NumPy arrays; this function writes to them.
      fit: the PCA.
      spread: standard deviation that each latent dimension stands for, `[used]`.
      x: the images.
    """
    params, stats = variables["params"], variables["batch_stats"]
    lift = write_encoder(params["encoder"], stats["encoder"], config, fit.levels, x)
    write_latent_means(params["encoder"]["Dense_0"], config, fit.vectors * spread / fit.eigenvalues, lift)
    mean = fit.codes * (spread / fit.eigenvalues) @ (fit.vectors * spread).T
    write_decoder(params["decoder"], stats["decoder"], config, fit.levels, (fit.vectors * spread).T, mean)
