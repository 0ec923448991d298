"""TIFF files written after the specification, and what an orientation means, as the specification has it."""

import struct
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np

NONE, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32773

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2

_ENCODERS: dict[int, Callable[[bytes], bytes]] = {
    NONE: bytes,
    LZW: imagecodecs.lzw_encode,
    DEFLATE: zlib.compress,
    PACKBITS: imagecodecs.packbits_encode,
}

# Where the specification wants row 0 and column 0 of what is stored: 6 is row 0 at the right, column 0 at the top.
TURNED: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],
    7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],
    8: lambda stored: stored.swapaxes(0, 1)[::-1],
}


def tiff(
    pixels: np.ndarray,
    *,
    order: str = "<",
    compression: int = NONE,
    orientation: int = 1,
    photometric: int | None = None,
    bits: int | None = None,
) -> bytes:
    """A TIFF of one strip: gray `[height, width]` or colour `[height, width, 3]`, at 12 bits of uint16 as well."""
    height, width = pixels.shape[:2]
    channels = pixels[0, 0].size
    bits = bits or 8 * pixels.dtype.itemsize
    packed = _of_twelve_bits(pixels) if bits == 12 else pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    data = _ENCODERS[compression](packed)
    sample_format = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    start = 8 + 2 + 12 * 11 + 4
    strip = start + (4 * channels if channels > 2 else 0)
    deep, formats = (start, start + 2 * channels) if channels > 2 else (bits, sample_format)
    entries = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, channels, deep), (259, 3, 1, compression),
        (262, 3, 1, (RGB if channels > 1 else BLACK_IS_ZERO) if photometric is None else photometric),
        (273, 4, 1, strip), (274, 3, 1, orientation), (277, 3, 1, channels), (278, 3, 1, height),
        (279, 4, 1, len(data)), (339, 3, channels, formats),
    ]  # fmt: skip
    out = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(entries))
    for tag, kind, count, value in entries:
        out += struct.pack(order + "HHI", tag, kind, count)
        out += struct.pack(order + "HH", value, 0) if kind == 3 and count == 1 else struct.pack(order + "I", value)
    out += struct.pack(order + "I", 0)
    if channels > 2:
        out += struct.pack(f"{order}{2 * channels}H", *[bits] * channels, *[sample_format] * channels)
    return out + data


def _of_twelve_bits(pixels: np.ndarray) -> bytes:
    rows = ("".join(f"{value:012b}" for value in row.ravel().tolist()) for row in pixels)
    rows = (row + "0" * (-len(row) % 8) for row in rows)
    return b"".join(int(row, 2).to_bytes(len(row) // 8, "big") for row in rows)
