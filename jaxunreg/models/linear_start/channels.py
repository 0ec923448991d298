"""The channels of a hidden layer: linear ones, lifted by batch normalisation until ReLU is open, and random ones."""

from typing import Any, NamedTuple

import numpy as np

from jaxunreg.nn.config import NetworkConfig

MIDDLE = slice(1, 3)
"""The rows, or columns, of a 4x4 kernel that cut an image into blocks without overlap."""

# A linear channel is lifted this far beyond its lowest value.
_MARGIN = 1.05

# Biases of the random features of the last hidden layers: from zero to this many of their standard deviations below.
_THRESHOLD = 1.0


class Lift(NamedTuple):
    """The encoding of linear features in a network's activations: `gain * (features + offset)`."""

    gain: float
    offset: np.ndarray  # [k]

    @property
    def constant(self) -> np.ndarray:
        return self.gain * self.offset


def write_normalization(params: Any, stats: Any, config: NetworkConfig, features: np.ndarray, mean: Any) -> Lift:
    """Write the batch normalisation of linear channels, which keeps their scale and lifts them until ReLU is open."""
    k = features.shape[-1]
    spread = np.maximum(features.std(axis=(0, 1, 2)), 1e-6)
    lift = Lift(float(1.0 / np.sqrt(np.mean(np.square(spread)))), -_MARGIN * features.min(axis=(0, 1, 2)))
    stats["mean"][:k], stats["var"][:k] = mean, np.square(spread)
    params["scale"][:k] = lift.gain * np.sqrt(np.square(spread) + config.batch_norm_epsilon)
    params["bias"][:k] = lift.constant
    return lift


def write_random_taps(kernel: np.ndarray, features: np.ndarray, lift: Lift | None, channels: slice) -> np.ndarray:
    """Keep the middle taps of the kernel of random features, which see no border, and set the others to zero.

    Each linear channel of the layer below gets the same share in the random features.

    Returns:
      What the lift of the linear channels adds, `[2, 2, outputs]`.
    """
    middle = kernel[MIDDLE, MIDDLE, :, channels].copy()
    kernel[..., channels] = 0.0
    k = features.shape[-1]
    gain = 1.0 if lift is None else lift.gain
    middle[:, :, :k] /= np.maximum(gain * features.std(axis=(0, 1, 2)), 1e-6).reshape(-1, 1)
    kernel[MIDDLE, MIDDLE, :, channels] = middle
    constant = np.zeros(k, np.float32) if lift is None else lift.constant
    return np.einsum("uvko,k->uvo", middle[:, :, :k], constant)


def thresholds(count: int) -> np.ndarray:
    """Return biases of random features that grow with the size of some quantity.

    With several thresholds they can form any concave function of that size, such as a logarithm.
    """
    return -np.linspace(0.0, _THRESHOLD, count)
