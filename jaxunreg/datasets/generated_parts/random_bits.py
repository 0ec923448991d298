"""Random numbers for each image from its own streams, the same with every release of NumPy."""

import math

import numpy as np
from jaxtyping import Float32

# Streams of random bits. Every image has one of each.
STYLE_STREAM, TEXTURE_STREAM, NOISE_STREAM, DEFECT_STREAM = range(4)


class Uniforms:
    """Uniform numbers on [0, 1) from one stream of one image. NumPy promises to keep only a generator's raw bits."""

    def __init__(self, seed: int, stream: int, index: int):
        self._generator = _bits(seed, stream, index)

    def __next__(self) -> float:
        return (int(self._generator.random_raw()) >> 11) * 2.0**-53

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * next(self)

    def array(self, *shape: int) -> Float32[np.ndarray, "..."]:
        raw = self._generator.random_raw(math.prod(shape))
        return ((raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)).reshape(shape)


def standard_normal(seed: int, index: int, count: int) -> Float32[np.ndarray, " count"]:
    """Return nearly normal numbers of mean 0 and variance 1, within 3.5: sums of four bytes, centred and scaled."""
    raw = _bits(seed, NOISE_STREAM, index).random_raw((count + 1) // 2).astype("<u8", copy=False)
    sums = raw.view(np.uint8).reshape(-1, 4).sum(axis=1, dtype=np.int32)[:count]
    # A byte has the variance (256^2 - 1) / 12.
    return ((sums - 510) / math.sqrt(4 * (256**2 - 1) / 12)).astype(np.float32)


def _bits(seed: int, stream: int, index: int) -> np.random.PCG64:
    return np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream, index)))
