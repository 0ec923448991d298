"""The receptive field of a place of a map, from the layers that made it."""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Layer(NamedTuple):
    """A convolution or a pooling along one axis.

    Attributes:
      kernel: number of neighbours that it sees.
      stride: step between neighbouring outputs.
      before: zeros before the first neighbour.
    """

    kernel: int
    stride: int
    before: int


class Tiling(NamedTuple):
    """How the image of a network may be cut into tiles, so that the map equals that of the whole image.

    Attributes:
      halo: pixels around a tile that its places also see, a multiple of `multiple`.
      multiple: tiles begin and end at multiples of this number of pixels, the coarsest stride inside of the network.
    """

    halo: int
    multiple: int


def tiling_of_levels(levels: Sequence[Sequence[Layer]]) -> Tiling:
    """Return the tiling of a network whose levels are joined by `join_levels`.

    A place sees its 3x3 neighbours at each level. At coarser levels it is interpolated between two places and sees the
    neighbours of both. Each layer widens the view by its kernel and its stride.

    Args:
      levels: the layers up to each level, the finest first. Layers with a kernel of one may be left out.

    >>> tiling_of_levels([[Layer(kernel=3, stride=1, before=1)]])
    Tiling(halo=2, multiple=1)
    >>> tiling_of_levels([[Layer(kernel=5, stride=8, before=0)]])
    Tiling(halo=8, multiple=8)
    """
    strides = [math.prod(layer.stride for layer in layers) for layers in levels]
    finest, coarsest = strides[0], max(strides)
    farthest = 0
    for layers, stride in zip(levels, strides, strict=True):
        ratio = stride // finest
        for phase in range(ratio):
            center = (phase + 0.5) / ratio - 0.5
            first, last = math.floor(center) - 1, math.ceil(center) + 1
            for layer in reversed(layers):
                first, last = (side * layer.stride - layer.before for side in (first, last))
                last += layer.kernel - 1
            own = phase * finest
            farthest = max(farthest, own - first, last - (own + finest - 1))
    return Tiling(-(-farthest // coarsest) * coarsest, coarsest)
