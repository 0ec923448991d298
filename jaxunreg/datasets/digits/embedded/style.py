"""The look of each image: number, place, colours and surroundings, drawn from uniform numbers."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from jaxunreg.datasets.digits.embedded.glyphs import FACES, Glyphs

STYLE_DRAWS = 40
"""Number of uniform numbers for one image, a few of them spare."""


class Style(NamedTuple):
    """The look of one block of images. Gray levels are 0 to 255, lengths are in pixels."""

    label: Int64[np.ndarray, " n"]
    cells: Int64[np.ndarray, "n 3"]  # the left neighbour, the digit in the middle, the right neighbour
    gap: Float64[np.ndarray, " n"]
    to_glyph: Float64[np.ndarray, "n 2 3"]  # (x, y, 1) in the image to (x, y) from the middle digit's center
    passes: Int64[np.ndarray, " n"]
    background: Float32[np.ndarray, "n 3"]
    foreground: Float32[np.ndarray, "n 3"]
    shading: Float32[np.ndarray, "n 2"]
    texture: Float32[np.ndarray, " n"]
    border: Float32[np.ndarray, "n 3"]  # a x + b y + c: -1/2 on the plate, 1/2 beyond its edge
    beyond: Float32[np.ndarray, "n 3"]
    noise: Float32[np.ndarray, " n"]


def draw_style(u: Float64[np.ndarray, "n draws"], image_size: int, glyphs: Glyphs) -> Style:
    """Draw the look of one image for each row of uniform numbers."""
    # The order of the draws defines the data set, so a new draw goes to the end.
    draws = iter(u.T)

    def between(low: float, high: float) -> Float64[np.ndarray, " n"]:
        return low + (high - low) * next(draws)

    def choose(options: int) -> Int64[np.ndarray, " n"]:
        return (options * next(draws)).astype(np.int64)

    def with_probability(probability: float) -> np.ndarray:
        return next(draws) < probability

    # Two ways to be mostly small and seldom large. The cubes are products, because NumPy's power may differ in the last
    # bit between processors.
    def around_zero(largest: float) -> Float64[np.ndarray, " n"]:
        x = between(-1.0, 1.0)
        return largest * (x * x * x)

    def above(low: float, high: float) -> Float64[np.ndarray, " n"]:
        x = next(draws)
        return low + (high - low) * (x * x * x)

    def tint(strength: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 3"]:
        # Daylight and paint vary from blue to orange much more than from green to magenta.
        warmth, green = between(-1.0, 1.0), between(-0.4, 0.4)
        red, blue = 0.7 * warmth, -warmth
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        return np.stack([red - luma, green - luma, blue - luma], axis=1) * strength[:, None]

    # The house number.
    label = choose(10)
    face = choose(len(FACES))
    empty = len(glyphs.width) - 1
    left = np.where(with_probability(0.6), face * 10 + choose(10), empty)
    right = np.where(with_probability(0.6), face * 10 + choose(10), empty)
    cells = np.stack([left, face * 10 + label, right], axis=1)

    # Its place. The rotation by 2 arctan(t) has the rational sine and cosine below.
    height = between(0.6, 0.95) * image_size
    aspect = between(0.65, 1.1)
    center_x, center_y = (image_size * between(0.44, 0.56) - 0.5 for _ in range(2))
    t = around_zero(0.15)
    cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    slant = around_zero(0.15)
    scale_y = image_size / height
    scale_x = scale_y / aspect
    ay, by = -sine * scale_y, cosine * scale_y
    ax, bx = cosine * scale_x + slant * ay, sine * scale_x + slant * by
    to_glyph = np.stack(
        [
            np.stack([ax, bx, -(ax * center_x + bx * center_y)], axis=1),
            np.stack([ay, by, -(ay * center_x + by * center_y)], axis=1),
        ],
        axis=1,
    )
    gap = image_size * between(0.03, 0.2)

    # Its colours: first the luma, with a lower bound of the contrast, then tints that do not change the luma.
    luma = between(25.0, 225.0)
    brighter = between(25.0, 225.0) > luma
    room = np.where(brighter, 245 - luma, luma - 10)
    brighter = np.where(room < 60, ~brighter, brighter)
    room = np.where(brighter, 245 - luma, luma - 10)
    contrast = 45 + (np.minimum(room, 180) - 45) * next(draws) * between(0.4, 1.0)
    step = np.where(brighter, contrast, -contrast)
    background = luma[:, None] + tint(above(8.0, 70.0))
    foreground = (luma + step)[:, None] + tint(above(8.0, 70.0))

    # Its surroundings. Beyond the plate's edge, the colour moves away from the foreground. Otherwise the digit would
    # vanish there.
    shading = np.stack([around_zero(30.0), around_zero(30.0)], axis=1)
    texture = above(0.0, 30.0)
    t = between(-1.0, 1.0)
    normal_x, normal_y = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    normal_x = np.where(with_probability(0.5), normal_x, -normal_x)
    distance = np.where(with_probability(0.25), between(0.25, 0.5), 10) * image_size
    middle = (image_size - 1) / 2
    border = np.stack([normal_x, normal_y, -(normal_x + normal_y) * middle - distance], axis=1)
    beyond = -np.sign(step)[:, None] * between(5.0, 70.0)[:, None] + tint(20 * np.ones(len(u)))

    blur = next(draws)
    passes = np.rint((0.5 + 8 * blur * blur) * (image_size * image_size / 1024)).astype(np.int64)
    border /= (1 + 0.5 * passes)[:, None]
    noise = above(0.5, 4.0)
    return Style(
        label, cells, gap, to_glyph, passes,
        *(x.astype(np.float32) for x in (background, foreground, shading, texture, border, beyond, noise)),
    )  # fmt: skip
