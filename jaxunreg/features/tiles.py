"""A network's map of a large image, tile by tile, in bounded memory.

The network sees a tile with a halo around it, and only the places of the tile itself are kept. If the halo is as wide
as the view of a place, they equal those of the whole image up to rounding. At the border of the image a tile has no
halo, so it is padded there like the whole image.
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

# Most pixels of an image that is seen as a whole. EfficientNet-Lite0 takes 190 bytes a pixel.
_MOST_PIXELS = 2**21

# Height and width of a tile with its halo, in pixels, or more if the halo is wide. With the halo of EfficientNet-Lite0,
# half of the pixels of a tile of 1440 are its own.
_SIDE = 1536


class CutAxis(NamedTuple):
    """The cuts of an axis: of the `seen` pixels from each of `seens` on, the `own` pixels from `owns` on are kept."""

    own: int
    seen: int
    owns: list[int]
    seens: list[int]


def look_at(network: FeatureNetwork, images: Images) -> FeatureMaps:
    """Return the features of images, in tiles if the images are large.

    The network sees an image of more than 2 million pixels in tiles of at most 1536x1536 pixels. It sees it as a whole
    if height or width is not a multiple like the tiles, or if the network has no tiling; see `tiling_of`.

    Args:
      network: any feature network.
      images: images for the network.

    Returns:
      The same as `network(images)`, up to rounding.

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
    """Return how `look_at` cuts an image of a size, or None if the network sees it as a whole.

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
    """Return the map of one image, for programs that add the batch axis by `jax.vmap`.

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
    # The last tile ends with the image, and shares places with the one before.
    owns = [min(k * own, length - own) for k in range(count)]
    return CutAxis(own, seen, owns, [min(max(0, start - tiling.halo), length - seen) for start in owns])


def _in_tiles(network: FeatureNetwork, images: Images, rows: CutAxis, columns: CutAxis) -> FeatureMaps:
    batch, height, width, channels = images.shape
    stride = network.stride
    shape = (batch, rows.seen, columns.seen, channels)
    # Without the checkpoint, a gradient would keep the activations of all tiles.
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
