"""Numbers from raw random bits, the same on every platform and with every release of NumPy."""

import math

import numpy as np
from jaxtyping import Float32, Float64, UInt64


def uniform(bits: UInt64[np.ndarray, "n words"]) -> Float64[np.ndarray, "n words"]:
    """Return uniform numbers on [0, 1), 53 bits each. Of a generator, NumPy promises to keep only the raw bits."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def standard_normal(
    bits: UInt64[np.ndarray, "n words"], shape: tuple[int, ...]
) -> Float32[np.ndarray, "n 3 size size"]:
    """Return nearly normal numbers of mean 0 and variance 1, within 3.5: sums of four bytes, centred and scaled."""
    low_bytes = np.uint64(0x00FF00FF00FF00FF)
    pairs = (bits & low_bytes) + ((bits >> np.uint64(8)) & low_bytes)
    low_pairs = np.uint64(0x0000FFFF0000FFFF)
    sums = (pairs & low_pairs) + ((pairs >> np.uint64(16)) & low_pairs)
    halves = sums.astype("<u8", copy=False).view("<u4")
    values = halves[:, : math.prod(shape[1:])].reshape(shape).astype(np.float32)
    # A byte has the variance (256^2 - 1) / 12.
    return (values - np.float32(510)) * np.float32(1 / math.sqrt(4 * (256**2 - 1) / 12))
