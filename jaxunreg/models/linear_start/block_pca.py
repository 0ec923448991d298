"""PCA of the 2x2 blocks of an image, and of the blocks of the result: a linear autoencoder in layers."""

import functools
from typing import NamedTuple

import numpy as np

from jaxunreg.nn.config import NetworkConfig

# Share of the channels that start as random features.
_SPARE = 0.25

# Their share where the latent space has more dimensions than the other channels would carry, and how many there are at
# least, so that there is room for a level.
_LEAST_SPARE = 1 / 32
_FEWEST_SPARE = 6


class Level(NamedTuple):
    """One linear layer of the encoder: `features = (blocks - mean) @ basis`."""

    mean: np.ndarray  # [4 c_in]
    basis: np.ndarray  # [4 c_in, k], orthonormal columns
    features: np.ndarray  # [n, height, width, k]


def linear_channels(config: NetworkConfig) -> list[int]:
    """Return how many channels of each layer of the encoder are linear, from the image to the deepest map."""
    channels = [config.base_channels * 2**layer for layer in range(config.depth)]
    usual = [max(1, round(_SPARE * count)) for count in channels]
    counts = _linear_channels(config, channels, usual)
    height, width, _ = config.bottom_shape
    if config.latent_dim <= height * width * counts[-1]:
        return counts
    least = [max(_FEWEST_SPARE, round(_LEAST_SPARE * count)) for count in channels]
    return _linear_channels(config, channels, [min(pair) for pair in zip(usual, least, strict=True)])


def _linear_channels(config: NetworkConfig, channels: list[int], spare: list[int]) -> list[int]:
    counts, below = [], config.image_shape[-1]
    for all_, random in zip(channels, spare, strict=True):
        # A layer has no use for more than the values of the blocks below it.
        below = min(max(1, all_ - random), 4 * below)
        counts.append(below)
    return counts


def block_pca(x: np.ndarray, channels: int) -> Level:
    n, height, width, _ = x.shape
    blocks = _blocks(x)
    mean = blocks.mean(0)
    centred = blocks - mean
    _, basis = leading(centred.T @ centred / len(centred), min(channels, blocks.shape[1]))
    return Level(mean, basis, (centred @ basis).reshape(n, height // 2, width // 2, -1))


def above(level: Level, features: np.ndarray) -> np.ndarray:
    """Return the map that a level's features stand for, twice as high and wide."""
    n, height, width, k = features.shape
    return _unblocks(features.reshape(-1, k) @ level.basis.T + level.mean, n, height, width)


def reconstruct(levels: list[Level], flat: np.ndarray) -> np.ndarray:
    return functools.reduce(
        lambda features, level: above(level, features), reversed(levels), flat.reshape(levels[-1].features.shape)
    )


def leading(moments: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest eigenvalues in decreasing order, and their vectors as columns."""
    import scipy.linalg  # slow to import, and no score needs it

    size = len(moments)
    values, vectors = scipy.linalg.eigh(moments.astype(np.float64), subset_by_index=(size - count, size - 1))
    return values[::-1].astype(np.float32), np.ascontiguousarray(vectors[:, ::-1].astype(np.float32))


def _blocks(x: np.ndarray) -> np.ndarray:
    """Map `[n, 2h, 2w, c]` to `[n h w, 4 c]`, in the order of the taps in the middle of a kernel."""
    n, height, width, c = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 4 * c)


def _unblocks(blocks: np.ndarray, n: int, height: int, width: int) -> np.ndarray:
    """Invert `_blocks`: map `[n h w, 4 c]` to `[n, 2h, 2w, c]`."""
    c = blocks.shape[1] // 4
    return blocks.reshape(n, height, width, 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * height, 2 * width, c)
