"""The decoder's weights in the linear start."""

from typing import Any

import numpy as np

from jaxunreg.models.linear_start.block_pca import Level, above
from jaxunreg.models.linear_start.channels import MIDDLE, thresholds, write_normalization, write_random_taps
from jaxunreg.nn.config import NetworkConfig

# Weight of random features on the random features of the next layer, relative to that of the linear channels.
_SPARE_GAIN = 3.0

# The mean of a rectified standard normal variable.
_RECTIFIED_MEAN = 0.4


def write_decoder(
    params: Any,
    stats: Any,
    config: NetworkConfig,
    levels: list[Level],
    matrix: np.ndarray,
    mean: np.ndarray,
) -> None:
    height, width, channels = config.bottom_shape
    used = len(matrix)
    features = mean.reshape(len(mean), height, width, -1)
    k = features.shape[-1]
    kernel = params["Dense_0"]["kernel"].reshape(config.latent_dim, height, width, channels)
    kernel[:used, :, :, :k] = matrix.reshape(used, height, width, k)
    kernel[used:] *= 0.01 * np.abs(matrix[-1]).max()
    layer_params, layer_stats = params["Dense_0"], stats["Dense_0"]
    for i, level in enumerate(reversed(levels)):
        lift = write_normalization(layer_params, layer_stats, config, features, 0.0)
        layer_params["scale"][-1], layer_params["bias"][-1] = 0.0, 1.0
        name = f"Convolution_{i}"
        kernel = params[name]["kernel"]
        last = i == len(levels) - 1
        k_out = config.image_shape[-1] if last else levels[-2 - i].features.shape[-1]
        if last:
            kernel[...] = 0.0
        else:
            # A transposed layer starts with weights for 2x2 taps that reach an output. Here only one tap does.
            kernel[:, :, :, k_out:] *= 2.0
            kernel[:, :, k:-1, k_out:] *= _SPARE_GAIN
            constant = write_random_taps(kernel, features, lift, slice(k_out, None))
            random = kernel[MIDDLE, MIDDLE, k:-1, k_out:].sum(2)
            kernel[MIDDLE, MIDDLE, -1, k_out:] = -constant - _RECTIFIED_MEAN * random
            kernel[..., :k_out] = 0.0
            if i == len(levels) - 2:
                params[name]["bias"][k_out:-1] = thresholds(len(params[name]["bias"]) - k_out - 1)
        taps = level.basis.T.reshape(k, 2, 2, k_out).transpose(1, 2, 0, 3)
        kernel[MIDDLE, MIDDLE, :k, :k_out] = taps / lift.gain
        constant = np.einsum("uvko,k->uvo", taps, lift.offset)
        kernel[MIDDLE, MIDDLE, -1, :k_out] = level.mean.reshape(2, 2, k_out) - constant
        features, k = above(level, features), k_out
        if last:
            # The model adds mid-gray.
            params[name]["bias"][:k_out] = -0.5
        else:
            layer_params, layer_stats = params[name], stats[name]
