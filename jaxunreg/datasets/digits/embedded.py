"""House-number-like digits drawn from a seed, after the synthetic digits of Ganin and Lempitsky (ICML 2015).

The images stand in for SVHN where it cannot be had: a digit in the middle, often the cut-off neighbours of
the same house number at the edges, on a background that is mostly smooth and sometimes not. Font, weight,
size, place, rotation, slant, colours, shading, blur and noise differ from image to image, and with them how
complex an image is, which is what the unregularized score is about.
"""

import hashlib
import math
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt64
from PIL import Image, ImageDraw, ImageFont

from jaxunreg.datasets.digits.dataset import LabeledImages, check_integer

# Of the fonts that matplotlib ships, DejaVu Sans Mono has a dotted zero, cmti10 a 4 below the baseline and
# cmmi10 old-style digits, none of which is seen on houses; the others have no digits.
_REGULAR = ("DejaVuSans", "DejaVuSerif", "STIXGeneral", "cmr10", "cmss10", "cmtt10")

_BOLD = ("DejaVuSans-Bold", "DejaVuSerif-Bold", "STIXGeneralBol", "cmb10")

_ITALIC = ("DejaVuSans-Oblique", "DejaVuSerif-Italic", "STIXGeneralItalic")

_BOLD_ITALIC = ("DejaVuSans-BoldOblique", "DejaVuSerif-BoldItalic", "STIXGeneralBolIta")

# A face is a font and how much its strokes grow on either side, as a fraction of the digits' height; more
# than this closes the counters of 6, 8 and 9. Italics are rare on houses, so each has one face only.
_FACES = (
    *((font, growth) for font in _REGULAR for growth in (0.0, 0.025, 0.05)),
    *((font, growth) for font in _BOLD for growth in (0.0, 0.02)),
    *((font, 0.025) for font in _ITALIC),
    *((font, 0.0) for font in _BOLD_ITALIC),
)

# Streams of random bits, a fixed number of them for each image, so that image i is found by skipping ahead.
_STYLE_STREAM, _TEXTURE_STREAM, _NOISE_STREAM = range(3)

_STYLE_DRAWS = 40

_LATTICE = 6

_FRACTION_BITS = 16

_SMALLEST_IMAGE, _LARGEST_IMAGE = 8, 256

# Pixels of one block: 256 images of 32x32, whose float32 planes of 1 MB stay in the processor's cache.
_BLOCK_PIXELS = 2**18


def synth_digits(n: int, *, seed: int = 0, image_size: int = 32, start: int = 0) -> LabeledImages:
    """Draw images `start` to `start + n - 1` of the endless data set that `seed` stands for.

    Image i depends on `(seed, image_size, i)` alone, so `start` makes splits that do not overlap. Where
    matplotlib's fonts (see `fonts_fingerprint`) and Pillow's rasteriser are the same, the same bytes come out
    on any platform: the random bits are PCG64's own, and all arithmetic on them is on integers or in single
    IEEE operations, without a transcendental function and without a reduction whose order could differ.

    Args:
      n: number of images, at least 1.
      seed: not negative.
      image_size: height and width in pixels, 8 to 256. The look is made for 32 and scales with it.
      start: index of the first image, not negative.

    Returns:
      uint8 images `[n, image_size, image_size, 3]` and int64 labels `[n]`: the digit in the middle,
      independent and uniform over 0 to 9.

    Raises:
      TypeError: an argument is not an integer.
      ValueError: an argument is out of its range.
      FileNotFoundError: matplotlib's fonts are not installed.

    >>> images, labels = synth_digits(5, seed=1)
    >>> images.shape, labels.shape
    ((5, 32, 32, 3), (5,))
    >>> bool((synth_digits(2, seed=1, start=3).images == images[3:]).all())
    True
    """
    n = check_integer("n", n, at_least=1, advice="ask for one image or more")
    seed = check_integer("seed", seed, at_least=0, advice="any natural number will do")
    start = check_integer("start", start, at_least=0, advice="the data set begins with image 0")
    image_size = check_integer(
        "image_size",
        image_size,
        at_least=_SMALLEST_IMAGE,
        advice="a digit cannot be recognised in fewer pixels",
    )
    if image_size > _LARGEST_IMAGE:
        raise ValueError(
            f"image_size is {image_size}, expected at most {_LARGEST_IMAGE}; draw at that size and enlarge the images"
        )
    glyphs = _glyphs(image_size)
    pixels = image_size * image_size
    # Half a word of 64 bits for each of the three channels of a pixel.
    words = {_STYLE_STREAM: _STYLE_DRAWS, _TEXTURE_STREAM: _LATTICE**2, _NOISE_STREAM: (3 * pixels + 1) // 2}
    streams = {
        stream: np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(stream,))).advance(start * count)
        for stream, count in words.items()
    }

    images = np.empty((n, image_size, image_size, 3), np.uint8)
    labels = np.empty(n, np.int64)
    block = max(1, _BLOCK_PIXELS // pixels)
    for first in range(0, n, block):
        rows = slice(first, min(first + block, n))
        count = rows.stop - rows.start
        bits = {
            stream: streams[stream].random_raw(count * words[stream]).reshape(count, words[stream])
            for stream in streams
        }
        style = _draw_style(_uniform(bits[_STYLE_STREAM]), image_size, glyphs)
        planes = _compose(style, _uniform(bits[_TEXTURE_STREAM]), image_size, glyphs)
        planes += style.noise[:, None, None, None] * _standard_normal(bits[_NOISE_STREAM], planes.shape)
        images[rows] = np.clip(np.rint(planes), 0, 255).transpose(0, 2, 3, 1)
        labels[rows] = style.label
    return LabeledImages(images, labels)


def fonts_fingerprint() -> str:
    """SHA-256 over the names and bytes of the fonts that the digits are drawn with.

    The fonts come with matplotlib, whose releases may change them, and the images with them.

    Raises:
      FileNotFoundError: matplotlib's fonts are not installed.

    >>> len(fonts_fingerprint())
    64
    """
    digest = hashlib.sha256()
    for font in sorted({font for font, _ in _FACES}):
        path = _font_path(font)
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


class _Glyphs(NamedTuple):
    """The digits of every face, upright, as tall as an image; the last cell is empty."""

    ink: Int32[np.ndarray, "cells rows columns"]  # 0 to 255, in a frame of zeros
    width: Int64[np.ndarray, " cells"]


class _Style(NamedTuple):
    """What one block of images is to look like; gray levels are 0 to 255, lengths are in pixels."""

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


def _draw_style(u: Float64[np.ndarray, "n draws"], image_size: int, glyphs: _Glyphs) -> _Style:
    # The order of the draws is the data set: a new one goes to the end.
    draws = iter(u.T)

    def between(low: float, high: float) -> Float64[np.ndarray, " n"]:
        return low + (high - low) * next(draws)

    def choose(options: int) -> Int64[np.ndarray, " n"]:
        return (options * next(draws)).astype(np.int64)

    def with_probability(probability: float) -> np.ndarray:
        return next(draws) < probability

    # Two ways to be mostly small and seldom large. The cubes are products, since NumPy's power may differ in
    # the last bit from one processor to another.
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
    face = choose(len(_FACES))
    empty = len(glyphs.width) - 1
    left = np.where(with_probability(0.6), face * 10 + choose(10), empty)
    right = np.where(with_probability(0.6), face * 10 + choose(10), empty)
    cells = np.stack([left, face * 10 + label, right], axis=1)

    # Where it stands. The rotation by 2 arctan(t) has the rational sine and cosine below.
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

    # Its colours: luma first, the contrast bounded below, then tints that leave the luma as it is.
    luma = between(25.0, 225.0)
    brighter = between(25.0, 225.0) > luma
    room = np.where(brighter, 245 - luma, luma - 10)
    brighter = np.where(room < 60, ~brighter, brighter)
    room = np.where(brighter, 245 - luma, luma - 10)
    contrast = 45 + (np.minimum(room, 180) - 45) * next(draws) * between(0.4, 1.0)
    step = np.where(brighter, contrast, -contrast)
    background = luma[:, None] + tint(above(8.0, 70.0))
    foreground = (luma + step)[:, None] + tint(above(8.0, 70.0))

    # What lies around it. What is beyond the plate's edge differs from the plate away from the foreground, or
    # the digit would vanish there.
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
    return _Style(
        label, cells, gap, to_glyph, passes,
        *(x.astype(np.float32) for x in (background, foreground, shading, texture, border, beyond, noise)),
    )  # fmt: skip


def _compose(
    style: _Style, u: Float64[np.ndarray, "n lattice"], image_size: int, glyphs: _Glyphs
) -> Float32[np.ndarray, "n 3 size size"]:
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


def _place_digits(style: _Style, image_size: int, glyphs: _Glyphs) -> Float32[np.ndarray, "n size size"]:
    """Sample the glyphs bilinearly at the places that an image's pixels have in the house number's own frame.

    The digits of one number stand side by side there, so every pixel belongs to one of them.
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
    # One pixel of the frame lies before the glyph, two behind it: all that is farther out reads zeros.
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
    """Smooth rows and columns with the binomial filter `[1 2 1] / 4`, as often as each image's `passes` says.

    That is nearly a Gaussian of variance `passes / 2`, with weights that are exact fractions. Beyond its
    edges an image goes on as it ends.
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
    """Right half of `[1 2 1] / 4` convolved with itself, without the weights below a thousandth."""
    weights = [math.comb(2 * passes, passes + k) for k in range(passes + 1)]
    weights = [w for w in weights if 1000 * w >= 4**passes]
    total = weights[0] + 2 * sum(weights[1:])
    return np.array([w / total for w in weights], np.float32)


def _texture(values: Float32[np.ndarray, "n lattice"], image_size: int) -> Float32[np.ndarray, "n size size"]:
    """Value noise: a coarse lattice of random values, smoothly interpolated."""
    position = np.arange(image_size, dtype=np.float32) * np.float32((_LATTICE - 1) / image_size)
    cell = position.astype(np.int64)
    t = position - cell.astype(np.float32)
    t = t * t * (3 - 2 * t)
    lattice = values.reshape(-1, _LATTICE, _LATTICE)
    lines = lattice[:, cell] + t[:, None] * (lattice[:, cell + 1] - lattice[:, cell])
    return lines[:, :, cell] + t * (lines[:, :, cell + 1] - lines[:, :, cell])


def _uniform(bits: UInt64[np.ndarray, "n words"]) -> Float64[np.ndarray, "n words"]:
    """Uniform on [0, 1), 53 bits each; of a generator NumPy promises to keep only the raw bits."""
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _standard_normal(
    bits: UInt64[np.ndarray, "n words"], shape: tuple[int, ...]
) -> Float32[np.ndarray, "n 3 size size"]:
    """Nearly normal, of mean 0 and variance 1, within 3.5: the sum of four bytes, centred and scaled."""
    low_bytes = np.uint64(0x00FF00FF00FF00FF)
    pairs = (bits & low_bytes) + ((bits >> np.uint64(8)) & low_bytes)
    low_pairs = np.uint64(0x0000FFFF0000FFFF)
    sums = (pairs & low_pairs) + ((pairs >> np.uint64(16)) & low_pairs)
    halves = sums.astype("<u8", copy=False).view("<u4")
    values = halves[:, : math.prod(shape[1:])].reshape(shape).astype(np.float32)
    # A byte has the variance (256^2 - 1) / 12.
    return (values - np.float32(510)) * np.float32(1 / math.sqrt(4 * (256**2 - 1) / 12))


@lru_cache(maxsize=4)
def _glyphs(image_size: int) -> _Glyphs:
    """Draw all digits large, where the rasteriser's rounding and hinting matter least, and shrink them."""
    drawn: list[Image.Image] = []
    for font, growth in _FACES:
        drawn += _draw_face(_font_path(font), growth, image_size)
    width = np.array([*(glyph.width for glyph in drawn), 0])
    ink = np.zeros((len(width), image_size + 3, int(width.max()) + 3), np.int32)
    for cell, glyph in zip(ink, drawn, strict=False):
        cell[1 : image_size + 1, 1 : glyph.width + 1] = np.asarray(glyph)
    ink.flags.writeable = False
    width.flags.writeable = False
    return _Glyphs(ink, width)


def _draw_face(path: Path, growth: float, image_size: int) -> list[Image.Image]:
    em = 6 * image_size
    # The basic layout is in every build of Pillow, Raqm is not.
    font = ImageFont.truetype(str(path), em, layout_engine=ImageFont.Layout.BASIC)
    large = []
    for digit in "0123456789":
        glyph = Image.new("L", (2 * em, 2 * em))
        ImageDraw.Draw(glyph).text(
            (em // 2, 3 * em // 2),
            digit,
            font=font,
            fill=255,
            anchor="ls",
            stroke_width=round(growth * 0.72 * em),
        )
        large.append(glyph)
    boxes = [box for glyph in large if (box := glyph.getbbox())]
    # One scale for the ten digits, which stand on one line and are as tall as the image together.
    top, bottom = min(box[1] for box in boxes), max(box[3] for box in boxes)
    scale = image_size / (bottom - top)
    return [
        glyph.resize(
            (max(1, round((box[2] - box[0]) * scale)), image_size),
            Image.Resampling.BOX,
            box=(box[0], top, box[2], bottom),
        )
        for glyph, box in zip(large, boxes, strict=True)
    ]


def _font_path(font: str) -> Path:
    path = Path(matplotlib.get_data_path(), "fonts", "ttf", f"{font}.ttf")
    if not path.is_file():
        raise FileNotFoundError(
            f"the font {path} does not exist, expected the fonts that matplotlib "
            f"{matplotlib.__version__} ships; reinstall matplotlib (some distributions leave its fonts out)"
        )
    return path
