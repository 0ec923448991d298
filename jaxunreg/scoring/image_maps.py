"""The maps that a scorer makes of one image."""

from typing import NamedTuple

from jaxunreg.decomposition import Decomposition
from jaxunreg.scoring.patches import PatchGrid


class ImageMaps(NamedTuple):
    """The maps of one image.

    Attributes:
      patches: NumPy float32 maps `[rows, columns]`, in nats a patch. With features, a patch is a place of their map.
      pixels: NumPy float64 maps `[height, width]`, in nats a pixel (with features a pixel of the resized image); None
        if they were not asked for.
      grid: places of the patches, in pixels of the image.
    """

    patches: Decomposition
    pixels: Decomposition | None
    grid: PatchGrid
