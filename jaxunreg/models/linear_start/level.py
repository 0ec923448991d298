"""Latent variables for how much of an image is missed: a level, which a small anomaly hardly moves.

The residual of an image grows with its complexity. The principal components do not tell it, so `sigma_x` cannot follow
it, and M of a normal image is then too large or too small by a factor. In the linear start with a level, the last
latent variables carry it from the encoder to the decoder.

The level must not follow an anomaly, or else `sigma_x` grows with the anomaly and hides it from M. So it is made of a
histogram, to which each small place of an image adds at most a bounded amount:

- some random features of the third but last layer become the two halves `relu(u)` and `relu(-u)` of directions `u` of
  their blocks. Each is a sum of principal components of unit variance from the middle of their order. They are not
  reconstructed well, and vary together with what is missed;
- some of the last but one layer become `relu(c - e)` for several thresholds `c`. The energy `e` of a place is the sum
  of these halves over the four places below;
- some of the last layer become their sums. The latent variables are the principal components of these.

In the decoder, a channel of each hidden layer hands each of them on, and the regression of `log sigma_x^2` finds what
they say of the residual.
"""

from typing import Any

import numpy as np

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.models.linear_start.block_pca import Level, leading, linear_channels
from jaxunreg.models.linear_start.channels import MIDDLE
from jaxunreg.models.vae_config import VAEConfig
from jaxunreg.nn.config import NetworkConfig
from jaxunreg.nn.soft_clip import inverse_soft_clip

# Directions whose two halves make the energy of a place.
_DIRECTIONS = 8

# Thresholds of the energy, in standard deviations about its mean. The energy is skewed.
_THRESHOLDS = (-1.0, 0.0, 1.0, 3.0)

# A channel of unit variance is lifted this far, so that ReLU is open.
_LIFT = 4.0

# `log sigma_z^2` of the level.
_LOG_VAR = -5.0

# Latent dimensions to each dimension of the level. It has as many as thresholds at most.
_PER_DIMENSION = 25


def level_dimensions(config: NetworkConfig) -> int:
    """Return how many of the last latent dimensions are the level.

    >>> [level_dimensions(NetworkConfig(latent_dim=n)) for n in (5, 50, 500)]
    [1, 2, 4]
    """
    return min(len(_THRESHOLDS), max(1, config.latent_dim // _PER_DIMENSION))


def level_channels(config: NetworkConfig) -> list[int]:
    """Return the channels of the decoder's last hidden layer that hold the level. The last channel is constant."""
    return [config.base_channels - 2 - number for number in range(level_dimensions(config))]


def check_room(config: NetworkConfig) -> None:
    """Refuse a network without room for a level.

    Raises:
      ArgumentError: it has fewer than three layers, two latent dimensions, or the random features that are needed.
    """
    if config.depth < 3 or config.latent_dim < 2:
        raise ArgumentError(
            f"{argument('depth', config.depth)} with {argument('latent_dim', config.latent_dim)}",
            "at least 3 layers and 2 latent dimensions for a level",
            f"use {argument('start', 'linear')}",
        )
    if min(spare(config)) <= len(_THRESHOLDS):
        raise ArgumentError(
            argument("base_channels", config.base_channels),
            f"at least {len(_THRESHOLDS) + 1} random features in each layer for a level",
            f"raise {argument('base_channels')}, or use {argument('start', 'linear')}",
        )


def spare(config: NetworkConfig) -> list[int]:
    """Return the number of random features of each layer of the encoder."""
    channels = [config.base_channels * 2**layer for layer in range(config.depth)]
    return [all_ - linear for all_, linear in zip(channels, linear_channels(config), strict=True)]


def write_histogram(params: Any, config: NetworkConfig, levels: list[Level]) -> None:
    """Write the energies, the thresholds and the sums over the first random features of the encoder's last layers."""
    energies, thresholds, sums = (params[f"Convolution_{config.depth - back}"] for back in (3, 2, 1))
    counts = linear_channels(config)[-3:]
    first, count = counts[0], len(_THRESHOLDS)
    directions = _directions(energies["kernel"], levels[-3], spare(config)[-3] // 2)
    pairs = directions.shape[-1]
    for sign, offset in ((1.0, 0), (-1.0, 1)):
        energies["kernel"][..., first + offset : first + 2 * pairs : 2] = sign * directions
    energies["bias"][first : first + 2 * pairs] = 0.0
    of_thresholds, of_sums = slice(counts[1], counts[1] + count), slice(counts[2], counts[2] + count)
    thresholds["kernel"][..., of_thresholds] = 0.0
    thresholds["kernel"][MIDDLE, MIDDLE, first : first + 2 * pairs, of_thresholds] = -1.0
    thresholds["bias"][of_thresholds] = _THRESHOLDS
    sums["kernel"][..., of_sums] = 0.0
    sums["kernel"][MIDDLE, MIDDLE, of_thresholds, of_sums] = np.eye(count)
    sums["bias"][of_sums] = _LIFT


def _directions(kernel: np.ndarray, level: Level, most: int) -> np.ndarray:
    """Return kernels of sums of principal components from the middle of their order, `[4, 4, inputs, directions]`.

    The first components are reconstructed well, and the last hardly vary.
    """
    components = level.basis.shape[1]
    count = min(_DIRECTIONS, most, components // 2)
    summed = components // 2 // count
    middle = slice(components // 3, components // 3 + summed * count)
    spread = np.maximum(level.features[..., middle].std(axis=(0, 1, 2)), 1e-6)
    return (kernel[..., middle] / spread).reshape(4, 4, -1, summed, count).sum(-2)


def write_level(dense: Any, config: VAEConfig, deepest: np.ndarray) -> None:
    """Write the last latent dimensions: the leading principal components of the histogram, of unit variance.

    Args:
      dense: the encoder's fully connected layer.
      config: sizes and bounds.
      deepest: the encoder's deepest map, `[n, height, width, channels]`.
    """
    k, count = linear_channels(config)[-1], level_dimensions(config)
    of_sums = slice(k, k + len(_THRESHOLDS))
    histogram = deepest[..., of_sums].mean((1, 2))
    mean = histogram.mean(0)
    variances, vectors = leading((histogram - mean).T @ (histogram - mean) / len(histogram), count)
    # The sums fall as the energies grow. The level shall grow.
    matrix = -np.where(vectors.sum(0) < 0, -1.0, 1.0) * vectors / np.sqrt(np.maximum(variances, 1e-6))
    height, width, channels = config.bottom_shape
    kernel = dense["kernel"].reshape(height, width, channels, -1)
    means, log_vars = (slice(end - count, end) for end in (config.latent_dim, 2 * config.latent_dim))
    kernel[..., means], kernel[..., log_vars] = 0.0, 0.0
    kernel[:, :, of_sums, means] = matrix / (height * width)
    dense["bias"][means] = -mean @ matrix
    raw = inverse_soft_clip(np.full(count, _LOG_VAR, np.float32), config.z_log_var_min, config.z_log_var_max)
    dense["bias"][log_vars] = raw - config.z_log_var_init


def write_level_channels(params: Any, config: NetworkConfig) -> None:
    """Write the channels of the decoder's hidden layers that hand the level on, and keep it out of all others."""
    count = level_dimensions(config)
    for layer in range(config.depth):
        hidden = params["Dense_0" if layer == 0 else f"Convolution_{layer - 1}"]
        # Counted from the last channel, which is constant.
        own = [len(hidden["bias"]) - 2 - number for number in range(count)]
        hidden["bias"][own] = _LIFT
        if layer == 0:
            kernel = hidden["kernel"].reshape(config.latent_dim, *config.bottom_shape)
            kernel[-count:], kernel[..., own] = 0.0, 0.0
            for number, channel in enumerate(own):
                kernel[number - count, ..., channel] = 1.0
        else:
            kernel = hidden["kernel"]
            below = [kernel.shape[2] - 2 - number for number in range(count)]
            kernel[:, :, below, :], kernel[..., own] = 0.0, 0.0
            for channel, channel_below in zip(own, below, strict=True):
                kernel[MIDDLE, MIDDLE, channel_below, channel] = 1.0
