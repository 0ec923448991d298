"""A machined part drawn from a seed: a simple brushed metal face around a complex threaded hole.

The images imitate those of a production line, in the spirit of the paper's screw data set. The start of the thread, the
pitch, the position, the camera's tilt, the light and the sensor's noise vary from part to part, mostly in the hole.
Cracks and blowholes may lie on either region, and their masks are exact.
"""

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, UInt8

from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.datasets.generated_parts.defects import add_blowholes, add_crack
from jaxunreg.datasets.generated_parts.geometry import Part
from jaxunreg.datasets.generated_parts.random_bits import (
    DEFECT_STREAM,
    STYLE_STREAM,
    TEXTURE_STREAM,
    Uniforms,
    standard_normal,
)
from jaxunreg.datasets.generated_parts.rendering import render
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.integers import check_integer

Defect: TypeAlias = Literal["none", "crack", "blowhole", "mixed"]

DEFECTS = ("crack", "blowhole")

_SMALLEST_SIDE, _LARGEST_SIDE = 64, 1024


class Parts(NamedTuple):
    """Images of a part, with the exact place of its defect.

    Attributes:
      images: uint8 `[n, height, width, 1]`.
      masks: bool `[n, height, width]`, the pixels that the defect changes.
      labels: `"good"`, `"crack"` or `"blowhole"`.
    """

    images: UInt8[np.ndarray, "n height width 1"]
    masks: Bool[np.ndarray, "n height width"]
    labels: tuple[str, ...]


def synth_parts(
    n: int, *, seed: int = 0, image_size: tuple[int, int] = (256, 256), defect: Defect = "none", start: int = 0
) -> Parts:
    """Draw images `start` to `start + n - 1` of the endless data set of `seed`.

    Image i depends only on `(seed, image_size, i)` and its defect, so `start` makes splits that do not overlap. With
    and without a defect it shows the same part in the same light with the same noise, so the images are equal outside
    the mask. The random bits are PCG64's own and the same everywhere. The gray levels use transcendental functions, so
    single levels may differ by one between platforms.

    Args:
      n: number of images, at least 1.
      seed: not negative.
      image_size: height and width in pixels, 64 to 1024 each.
      defect: the defect of every image; `"mixed"` draws a crack or a blowhole for each.
      start: index of the first image, not negative.

    Returns:
      The images, masks and labels.

    Raises:
      ArgumentTypeError: an argument is not an integer.
      ArgumentError: an argument is out of its range.

    >>> good, cracked = synth_parts(2, seed=1), synth_parts(2, seed=1, defect="crack")
    >>> cracked.images.shape, cracked.labels
    ((2, 256, 256, 1), ('crack', 'crack'))
    >>> changed = (good.images != cracked.images)[..., 0]
    >>> bool(changed.any()), bool((changed & ~cracked.masks).any())
    (True, False)
    """
    n = check_integer("n", n, at_least=1, advice="ask for one image or more")
    seed = check_integer("seed", seed, at_least=0, advice="any natural number will do")
    start = check_integer("start", start, at_least=0, advice="the data set begins with image 0")
    if defect not in ("none", *DEFECTS, "mixed"):
        raise ArgumentError(argument("defect", defect), "'none', 'crack', 'blowhole' or 'mixed'", "give one of these")
    if len(image_size) != 2:
        raise ArgumentError(argument("image_size", image_size), "(height, width)", "give two integers")
    height, width = (
        check_integer("image_size", side, at_least=_SMALLEST_SIDE, advice="a thread cannot be drawn in fewer pixels")
        for side in image_size
    )
    if max(height, width) > _LARGEST_SIDE:
        raise ArgumentError(
            argument("image_size", image_size), f"at most {_LARGEST_SIDE} each", "draw smaller images and enlarge them"
        )

    images = np.empty((n, height, width, 1), np.uint8)
    masks = np.zeros((n, height, width), bool)
    labels = []
    for k in range(n):
        u = Uniforms(seed, STYLE_STREAM, start + k)
        part = Part.draw(u, height, width)
        scene = render(part, Uniforms(seed, TEXTURE_STREAM, start + k), height, width)
        label = GOOD
        if defect != "none":
            draws = Uniforms(seed, DEFECT_STREAM, start + k)
            kind = next(draws)  # always drawn, so that a crack is the same with `mixed` and without
            label = defect if defect != "mixed" else DEFECTS[int(2 * kind)]
            marred = (add_crack if label == "crack" else add_blowholes)(scene, part, draws)
            masks[k] = marred != scene
            scene = marred
        noise = part.noise * standard_normal(seed, start + k, height * width).reshape(height, width)
        images[k, :, :, 0] = np.clip(np.rint(scene + noise), 0, 255)
        labels.append(label)
    return Parts(images, masks, tuple(labels))
