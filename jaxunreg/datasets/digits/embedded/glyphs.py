"""The digits of all fonts, drawn large and shrunk."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from jaxtyping import Int32, Int64
from PIL import Image, ImageDraw, ImageFont

from jaxunreg.datasets.file_errors import MissingFileError

# Some fonts of matplotlib are left out: DejaVu Sans Mono has a dotted zero, cmti10 a 4 below the baseline and cmmi10
# old-style digits, which houses do not show. The others have no digits.
_REGULAR = ("DejaVuSans", "DejaVuSerif", "STIXGeneral", "cmr10", "cmss10", "cmtt10")

_BOLD = ("DejaVuSans-Bold", "DejaVuSerif-Bold", "STIXGeneralBol", "cmb10")

_ITALIC = ("DejaVuSans-Oblique", "DejaVuSerif-Italic", "STIXGeneralItalic")

_BOLD_ITALIC = ("DejaVuSans-BoldOblique", "DejaVuSerif-BoldItalic", "STIXGeneralBolIta")

# A face is a font and the growth of its strokes on either side, as a fraction of the digits' height. More growth closes
# the counters of 6, 8 and 9. Italics are rare on houses, so each has only one face.
FACES = (
    *((font, growth) for font in _REGULAR for growth in (0.0, 0.025, 0.05)),
    *((font, growth) for font in _BOLD for growth in (0.0, 0.02)),
    *((font, 0.025) for font in _ITALIC),
    *((font, 0.0) for font in _BOLD_ITALIC),
)


class Glyphs(NamedTuple):
    """The digits of every face, upright and as tall as an image. The last cell is empty."""

    ink: Int32[np.ndarray, "cells rows columns"]  # 0 to 255, in a frame of zeros
    width: Int64[np.ndarray, " cells"]


@lru_cache(maxsize=4)
def draw_glyphs(image_size: int) -> Glyphs:
    """Draw all digits large, so that the rasteriser's rounding and hinting matter least, and shrink them."""
    drawn: list[Image.Image] = []
    for font, growth in FACES:
        drawn += _draw_face(_font_path(font), growth, image_size)
    width = np.array([*(glyph.width for glyph in drawn), 0])
    ink = np.zeros((len(width), image_size + 3, int(width.max()) + 3), np.int32)
    for cell, glyph in zip(ink, drawn, strict=False):
        cell[1 : image_size + 1, 1 : glyph.width + 1] = np.asarray(glyph)
    ink.flags.writeable = False
    width.flags.writeable = False
    return Glyphs(ink, width)


def fonts_fingerprint() -> str:
    """Return SHA-256 over the names and bytes of the fonts that draw the digits.

    The fonts come with matplotlib. A release may change the fonts, and so the images.

    Raises:
      MissingFileError: matplotlib's fonts are not installed.

    >>> len(fonts_fingerprint())
    64
    """
    digest = hashlib.sha256()
    for font in sorted({font for font, _ in FACES}):
        path = _font_path(font)
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _draw_face(path: Path, growth: float, image_size: int) -> list[Image.Image]:
    em = 6 * image_size
    # Every build of Pillow has the basic layout. Raqm may be missing.
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
    # The ten digits have one scale and stand on one line. Together they are as tall as the image.
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
        raise MissingFileError(
            path,
            "does not exist",
            f"the fonts that matplotlib {matplotlib.__version__} ships",
            "reinstall matplotlib (some distributions leave its fonts out)",
        )
    return path
