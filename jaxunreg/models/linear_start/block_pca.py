"""PCA of the 2x2 blocks of an image, and of the blocks of the result: a linear autoencoder in layers."""

import functools
from typing import NamedTuple

import numpy as np

# Share of the channels that start as random features.
_SPARE = 0.25


class Level(NamedTuple):
    """One linear layer of the encoder: `features = (blocks - mean) @ basis`."""

    mean: np.ndarray  # [4 c_in]
    basis: np.ndarray  # [4 c_in, k], orthonormal columns
    features: np.ndarray  # [n, height, width, k]


def linear_channels(channels: int) -> int:
    return max(1, channels - max(1, round(_SPARE * channels)))


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
