"""A network's map of a large image, tile by tile, in bounded memory.

A tile is seen with a halo around it, and only the places of the tile itself are kept. With a halo as wide as a place
sees, they are those of the whole image, to rounding. At the border of the image a tile has no halo, so that it is
padded there as the whole image is.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from jaxunreg.features.network import FeatureMap, FeatureMaps, FeatureNetwork, tiling_of
from jaxunreg.features.receptive_field import Tiling
from jaxunreg.typing import Image, Images

# Of an image that is seen as a whole. EfficientNet-Lite0 takes 190 bytes a pixel.
_MOST_PIXELS = 2**21

# Height and width of a tile with its halo, in pixels; more where the halo is wide. Of the pixels of a tile of 1440 with
# the halo of EfficientNet-Lite0, half are its own.
_SIDE = 1536


class CutAxis(NamedTuple):
    """How an axis is cut: `own` pixels from each of `owns` on are kept of the `seen` pixels from each of `seens` on."""

    own: int
    seen: int
    owns: list[int]
    seens: list[int]


def look_at(network: FeatureNetwork, images: Images) -> FeatureMaps:
    """What a network sees in images, in tiles where they are large.

    An image of more than 2 million pixels is seen in tiles of at most 1536x1536 pixels. It is seen as a whole if its
    height or width is not a multiple of what the tiles are, or if the network does not say how it may be cut, see
    `tiling_of`.

    Args:
      network: any feature network.
      images: as the network takes them.

    Returns:
      What `network(images)` returns, to rounding.

    Raises:
      ArgumentError: the errors of the network.

    >>> import jax.numpy as jnp
    >>> from jaxunreg.features import wrap
    >>> network = wrap(lambda weights, images: images[:, ::4, ::4], (), name="thinned")
    >>> look_at(network, jnp.ones((1, 8, 8, 3))).shape
    (1, 2, 2, 3)
    """
    axes = cut_of(network, *images.shape[1:3])
    return network(images) if axes is None else _in_tiles(network, images, *axes)


def cut_of(network: FeatureNetwork, height: int, width: int) -> tuple[CutAxis, CutAxis] | None:
    """How `look_at` cuts an image of a size, or None where the network sees it as a whole.

    >>> from jaxunreg.features import Tiling, wrap
    >>> network = wrap(lambda weights, images: images[:, ::4, ::4], (), name="thinned", tiling=Tiling(8, 4))
    >>> cut_of(network, 64, 64), cut_of(network, 2048, 1536)[0]
    (None, CutAxis(own=1024, seen=1040, owns=[0, 1024], seens=[0, 1008]))
    """
    tiling = tiling_of(network)
    if tiling is None or height * width <= _MOST_PIXELS or height % tiling.multiple or width % tiling.multiple:
        return None
    return _cut(height, tiling), _cut(width, tiling)


def features_of(network: FeatureNetwork, image: Image) -> FeatureMap:
    """The map of one image, for programs that add the batch axis by `jax.vmap`.

    >>> import jax.numpy as jnp
    >>> from jaxunreg.features import wrap
    >>> network = wrap(lambda weights, images: images[:, ::4, ::4], (), name="thinned")
    >>> features_of(network, jnp.ones((8, 8, 3))).shape
    (2, 2, 3)
    """
    return look_at(network, image[None])[0]


def _cut(length: int, tiling: Tiling) -> CutAxis:
    side = max(_SIDE, 4 * tiling.halo)
    count = -(-length // (side - 2 * tiling.halo))
    own = -(-length // (count * tiling.multiple)) * tiling.multiple
    seen = min(length, own + 2 * tiling.halo)
    # The last tile ends with the image, and has places in common with the one before.
    owns = [min(k * own, length - own) for k in range(count)]
    return CutAxis(own, seen, owns, [min(max(0, start - tiling.halo), length - seen) for start in owns])


def _in_tiles(network: FeatureNetwork, images: Images, rows: CutAxis, columns: CutAxis) -> FeatureMaps:
    batch, height, width, channels = images.shape
    stride = network.stride
    shape = (batch, rows.seen, columns.seen, channels)
    # Without the checkpoint a gradient would keep what is inside of the network for all tiles.
    look = jax.checkpoint(lambda tile: network(tile))
    kept = jax.eval_shape(look, jax.ShapeDtypeStruct(shape, images.dtype))
    size = (batch, rows.own // stride, columns.own // stride, kept.shape[3])

    def add(maps: Array, corners: Any) -> tuple[Array, None]:
        (top, row), (left, column) = corners
        seen = look(lax.dynamic_slice(images, (0, top, left, 0), shape))
        own = lax.dynamic_slice(seen, (0, row - top // stride, column - left // stride, 0), size)
        return lax.dynamic_update_slice(maps, own, (0, row, column, 0)), None

    corners = [
        ((top, row // stride), (left, column // stride))
        for top, row in zip(rows.seens, rows.owns, strict=True)
        for left, column in zip(columns.seens, columns.owns, strict=True)
    ]
    maps = jnp.zeros((batch, height // stride, width // stride, kept.shape[3]), kept.dtype)
    return lax.scan(add, maps, np.array(corners, np.int32))[0]
