"""The encoder's weights in the linear start."""

from typing import Any

import numpy as np

from jaxunreg.models.linear_start.block_pca import Level
from jaxunreg.models.linear_start.channels import MIDDLE, Lift, thresholds, write_normalization, write_random_taps
from jaxunreg.nn.config import NetworkConfig


def write_encoder(params: Any, stats: Any, config: NetworkConfig, levels: list[Level], x: np.ndarray) -> Lift:
    lift: Lift | None = None
    below = x
    for layer, level in enumerate(levels):
        name = f"Convolution_{layer}"
        kernel = params[name]["kernel"]
        k_in, k = below.shape[-1], level.features.shape[-1]
        write_random_taps(kernel, below, lift, slice(k, None))
        kernel[..., :k] = 0.0
        taps = level.basis.reshape(2, 2, k_in, k)
        kernel[MIDDLE, MIDDLE, :k_in, :k] = taps / (1.0 if lift is None else lift.gain)
        mean = level.mean @ level.basis
        if lift is not None:
            mean = mean + np.einsum("uvio,i->o", taps, lift.offset)
        lift = write_normalization(params[name], stats[name], config, level.features, mean)
        if layer == len(levels) - 1:
            params[name]["bias"][k:] = thresholds(config.base_channels * 2**layer - k)
        below = level.features
    assert lift is not None
    return lift


def write_latent_means(dense: Any, config: NetworkConfig, matrix: np.ndarray, lift: Lift) -> None:
    """Write the fully connected layer whose latent means are `matrix` times the deepest features."""
    height, width, channels = config.bottom_shape
    used, k = matrix.shape[1], len(lift.offset)
    kernel = np.zeros((height, width, channels, dense["kernel"].shape[1]), np.float32)
    taps = matrix.reshape(height, width, k, used) / lift.gain
    # Dimensions without a component keep random weights on the random features.
    kernel[:, :, k:, used : config.latent_dim] = dense["kernel"].reshape(kernel.shape)[
        :, :, k:, used : config.latent_dim
    ]
    kernel[:, :, :k, :used] = taps
    dense["kernel"][...] = kernel.reshape(dense["kernel"].shape)
    dense["bias"][:used] = -np.einsum("hwkz,k->z", taps, lift.constant)
