"""The picture of a heat map as PNG bytes: heat over the image in gray, in the colours of all figures."""

import io

import numpy as np
from jaxtyping import Bool, Float, Num
from PIL import Image

from jaxunreg.datasets.folders.pixels import convert
from jaxunreg.plots.heat_colors import blend, heat_norm

# A screen shows no more pixels, and blending takes 60 bytes a pixel.
_LARGEST_SIDE = 2048


def heat_map_png(
    image: Num[np.ndarray, "height width channels"],
    heat: Float[np.ndarray, "height width"],
    scale: tuple[float, float],
    counted: Bool[np.ndarray, "height width"] | None = None,
) -> bytes:
    """Draw heat over an image in gray, as PNG.

    Args:
      image: uint8, or floating point in [0, 1].
      heat: the heat map; higher is more anomalous.
      scale: the heats of the first and of the last colour.
      counted: the pixels that count, or None if all do. The others are pale.

    Returns:
      The bytes of a PNG with the size of the image, or a smaller one if a side has more than 2,048 pixels.

    >>> png = heat_map_png(np.zeros((6, 8, 1), np.uint8), np.ones((6, 8)), (0.0, 2.0))
    >>> Image.open(io.BytesIO(png)).size
    (8, 6)
    """
    step = -(-max(heat.shape) // _LARGEST_SIDE)
    # The highest heat of each block, so that a small place stays visible.
    rows, columns = (np.arange(0, length, step) for length in heat.shape)
    highest = np.maximum.reduceat(np.maximum.reduceat(heat, rows, axis=0), columns, axis=1)
    # By NumPy: JAX would compile a program for each size of images.
    pixels = convert(image[::step, ::step], image.shape[2], as_float=True)
    shown = None if counted is None else counted[::step, ::step]
    colors = blend(pixels, heat_norm(scale), highest, shown)
    file = io.BytesIO()
    Image.fromarray((255 * colors + 0.5).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()
