"""Plain images: check, draw, and outline a square."""

from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Array, Num
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from jaxunreg.errors import ArgumentError
from jaxunreg.plots.style import ANOMALOUS

ShownImages: TypeAlias = Num[Array | np.ndarray, "_ _ _ _"]
"""Images `[n, height, width, channels]`. The functions check that the lengths of their arguments agree."""


def check_displayable(name: str, images: np.ndarray) -> None:
    """Raise `ArgumentError` if images cannot be shown."""
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise ArgumentError(
            f"{name} images of shape {list(images.shape)}",
            "[n, height, width, channels] with 1 or 3 channels and at least one image",
            "choose the channels to show",
        )
    if not np.isfinite(images).all():
        raise ArgumentError(
            f"{name} images with NaN or infinite values", "finite values", "see what the model was given"
        )


def show_image(axes: Axes, picture: np.ndarray, **how: Any) -> AxesImage:
    """Draw an image `[height, width, channels]`, or a map `[height, width]`, with sharp pixels."""
    if picture.ndim == 3:
        if picture.dtype != np.uint8:
            picture = np.clip(picture, 0.0, 1.0)
        if picture.shape[-1] == 1:
            # Not through a gray colour map, which is off by one gray level in places.
            picture = np.repeat(picture, 3, axis=-1)
    return axes.imshow(picture, aspect="auto", interpolation="nearest", **how)


def outline_square(axes: Axes, top: int, left: int, size: int) -> None:
    """Draw a line around a square."""
    # Outside of the square, so that all its pixels are visible, and beyond the image if the square is at its edge.
    corner, edge = (left - 1.0, top - 1.0), size + 1.0
    axes.add_patch(Rectangle(corner, edge, edge, fill=False, edgecolor=ANOMALOUS, linewidth=0.8, clip_on=False))
