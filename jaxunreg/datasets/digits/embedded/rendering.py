"""Images in floating point, drawn from their style."""

import math
from functools import cache

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64

from jaxunreg.datasets.digits.embedded.glyphs import Glyphs
from jaxunreg.datasets.digits.embedded.style import Style

LATTICE = 6
"""Number of random values of the background's texture along each side."""

_FRACTION_BITS = 16


def render(
    style: Style, u: Float64[np.ndarray, "n lattice"], image_size: int, glyphs: Glyphs
) -> Float32[np.ndarray, "n 3 size size"]:
    """Draw the images without noise, channels first. Gray levels are 0 to 255, or a little outside.

    Args:
      style: the look of the images.
      u: uniform numbers for the background's texture.
      image_size: height and width in pixels.
      glyphs: the digits at that size.
    """
    axis = np.arange(image_size, dtype=np.float32)
    x, y = axis, axis[:, None]
    middle = np.float32((image_size - 1) / 2)

    def per_image(values: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, "n 1 1"]:
        return values[:, None, None]

    shade = per_image(style.shading[:, 0]) * ((x - middle) / middle)
    shade = shade + per_image(style.shading[:, 1]) * ((y - middle) / middle)
    shade += per_image(style.texture) * _texture((2 * u - 1).astype(np.float32), image_size)

    a, b, c = (per_image(style.border[:, k]) for k in range(3))
    beyond = np.clip(a * x + (b * y + c) + np.float32(0.5), 0, 1)
    ink = _blur(_place_digits(style, image_size, glyphs), style.passes)

    planes = np.empty((len(u), 3, image_size, image_size), np.float32)
    for channel in range(3):
        ground = per_image(style.background[:, channel]) + per_image(style.beyond[:, channel]) * beyond
        planes[:, channel] = ground + ink * (per_image(style.foreground[:, channel]) - ground) + shade
    return planes


def _place_digits(style: Style, image_size: int, glyphs: Glyphs) -> Float32[np.ndarray, "n size size"]:
    """Sample the glyphs bilinearly at the places of an image's pixels in the house number's own frame.

    In that frame, the digits of a number stand side by side, so every pixel belongs to one digit.
    """
    one = 1 << _FRACTION_BITS
    n = len(style.label)
    fixed = np.rint(style.to_glyph * one).astype(np.int32)
    axis = np.arange(image_size, dtype=np.int32)

    def coordinate(row: int) -> Int32[np.ndarray, "n size size"]:
        along_y = fixed[:, row, 1, None] * axis + fixed[:, row, 2, None]
        return along_y[:, :, None] + (fixed[:, row, 0, None] * axis)[:, None, :]

    half = glyphs.width[style.cells] / 2
    edge_left, edge_right = -half[:, 1] - style.gap / 2, half[:, 1] + style.gap / 2
    origin = np.stack([edge_left - style.gap / 2 - 2 * half[:, 0], -half[:, 1], edge_right + style.gap / 2], axis=1)
    column, row = coordinate(0), coordinate(1)

    def fixed_point(values: Float64[np.ndarray, " n"]) -> Int32[np.ndarray, "n 1 1"]:
        return np.rint(values * one).astype(np.int32)[:, None, None]

    which = 1 + (column > fixed_point(edge_right)).astype(np.int32) - (column < fixed_point(edge_left))
    which += 3 * np.arange(n, dtype=np.int32)[:, None, None]
    column -= np.rint((origin + 0.5) * one).astype(np.int32).reshape(-1)[which]
    row += np.int32(image_size * one // 2 - one // 2)

    rows, columns = glyphs.ink.shape[1:]
    # One pixel of the frame lies before the glyph, two behind it. Everything farther out reads zeros.
    np.clip(row, -one, (rows - 3) * one, out=row)
    np.clip(column, -one, (columns - 3) * one, out=column)
    i, j = (row >> _FRACTION_BITS) + 1, (column >> _FRACTION_BITS) + 1
    cell = (style.cells * (rows * columns)).astype(np.int32).reshape(-1)[which]
    flat = cell + i * np.int32(columns) + j
    ink = glyphs.ink.reshape(-1)
    # Eight bits of each fraction, so that the products fit into 32 bits.
    fy, fx = (row >> 8) & 255, (column >> 8) & 255
    upper = ink[flat] * (256 - fx) + ink[flat + 1] * fx
    flat += np.int32(columns)
    lower = ink[flat] * (256 - fx) + ink[flat + 1] * fx
    return (upper * (256 - fy) + lower * fy).astype(np.float32) / np.float32(255 << 16)


def _blur(
    ink: Float32[np.ndarray, "n size size"], passes: Int64[np.ndarray, " n"]
) -> Float32[np.ndarray, "n size size"]:
    """Smooth rows and columns with the binomial filter `[1 2 1] / 4`, `passes` times for each image.

    This is nearly a Gaussian of variance `passes / 2`, with weights that are exact fractions. Beyond its edges an image
    repeats its last pixels.
    """
    size = ink.shape[1]
    blurred = ink.copy()
    for count in np.unique(passes):
        chosen = np.flatnonzero(passes == count)
        kernel = _binomial(int(count))
        radius = len(kernel) - 1
        padded = np.pad(ink[chosen], ((0, 0), (radius, radius), (0, 0)), mode="edge")
        smooth = kernel[0] * padded[:, radius : radius + size]
        for k in range(1, radius + 1):
            pair = padded[:, radius - k : radius - k + size] + padded[:, radius + k : radius + k + size]
            smooth += kernel[k] * pair
        padded = np.pad(smooth, ((0, 0), (0, 0), (radius, radius)), mode="edge")
        smooth = kernel[0] * padded[:, :, radius : radius + size]
        for k in range(1, radius + 1):
            pair = padded[:, :, radius - k : radius - k + size] + padded[:, :, radius + k : radius + k + size]
            smooth += kernel[k] * pair
        blurred[chosen] = smooth
    return blurred


@cache
def _binomial(passes: int) -> Float32[np.ndarray, " taps"]:
    """Return the right half of `[1 2 1] / 4` convolved with itself, without the weights below a thousandth."""
    weights = [math.comb(2 * passes, passes + k) for k in range(passes + 1)]
    weights = [w for w in weights if 1000 * w >= 4**passes]
    total = weights[0] + 2 * sum(weights[1:])
    return np.array([w / total for w in weights], np.float32)


def _texture(values: Float32[np.ndarray, "n lattice"], image_size: int) -> Float32[np.ndarray, "n size size"]:
    """Return value noise: a coarse lattice of random values, smoothly interpolated."""
    position = np.arange(image_size, dtype=np.float32) * np.float32((LATTICE - 1) / image_size)
    cell = position.astype(np.int64)
    t = position - cell.astype(np.float32)
    t = t * t * (3 - 2 * t)
    lattice = values.reshape(-1, LATTICE, LATTICE)
    lines = lattice[:, cell] + t[:, None] * (lattice[:, cell + 1] - lattice[:, cell])
    return lines[:, :, cell] + t * (lines[:, :, cell + 1] - lines[:, :, cell])
