"""What a feature network must offer, and a wrapper that makes one of a user's function."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxunreg.errors import ArgumentError, ArgumentTypeError, JaxunregError, argument
from jaxunreg.features.receptive_field import Tiling
from jaxunreg.integers import check_integer
from jaxunreg.masked import check_unmasked
from jaxunreg.signatures import checked
from jaxunreg.typing import Images, PyTree

FeatureMap = Float[Array, "rows columns features"]
"""The features of one image."""

FeatureMaps = Float[Array, "batch rows columns features"]
"""The features of each image of a batch."""


class FeatureError(JaxunregError, ValueError):
    """Features cannot be used: their shape is not as expected, they are too few, or not finite."""


@runtime_checkable
class FeatureNetwork(Protocol):
    """A frozen network as a pure function from images to maps of features.

    It is a pytree whose leaves are its weights. So it is an argument like any array: pass it to `jit`, `vmap`, `grad`
    and `shard_map`. `EfficientNetLite0` and `ResNet` are feature networks, and `wrap` makes one of any function.

    It may offer more: `arithmetic`, see `arithmetic_of`, `native()`, see `native_of`, and `tiling`, see `tiling_of`.

    Attributes:
      name: its name, for people.
      channels: values at each place of the map.
      stride: pixels from one place of the map to the next. An image `[height, width]` has a map of
        `ceil(height / stride)` rows and `ceil(width / stride)` columns.
      sha256: SHA-256 of its weights, as 64 hexadecimal digits. Features of another network have another meaning.
    """

    @property
    def name(self) -> str: ...

    @property
    def channels(self) -> int: ...

    @property
    def stride(self) -> int: ...

    @property
    def sha256(self) -> str: ...

    def __call__(self, images: Images) -> FeatureMaps:
        """Return the features of images `[batch, height, width, 1 or 3]`, floating point in [0, 1]."""
        ...


def arithmetic_of(network: FeatureNetwork) -> str:
    """Return the arithmetic of a network's matrix products: its `arithmetic` if it has one, else `"float32"`.

    >>> arithmetic_of(wrap(lambda weights, images: images[:, ::4, ::4], (), name="thinned"))
    'float32'
    """
    return str(getattr(network, "arithmetic", "float32"))


def native_of(network: FeatureNetwork) -> FeatureNetwork:
    """Return the network in float32 with XLA's own convolutions: its `native()` if it has one, else itself.

    >>> network = wrap(lambda weights, images: images[:, ::4, ::4], (), name="thinned")
    >>> native_of(network) is network
    True
    """
    native = getattr(network, "native", None)
    return network if native is None else native()


def tiling_of(network: FeatureNetwork) -> Tiling | None:
    """Return how its image may be cut into tiles: its `tiling` if it has one, else None.

    >>> tiling_of(wrap(lambda weights, images: images[:, ::4, ::4], (), name="thinned", tiling=Tiling(0, 4)))
    Tiling(halo=0, multiple=4)
    """
    tiling: Tiling | None = getattr(network, "tiling", None)
    return tiling


@checked
def map_shape(network: FeatureNetwork, height: int, width: int) -> tuple[int, int, int]:
    """Return rows, columns and channels of the map of an image.

    Args:
      network: any feature network.
      height: height of the image, in pixels.
      width: width of the image, in pixels.

    >>> map_shape(wrap(lambda weights, images: images[:, ::4, ::4], (), name="thinned"), 30, 40)
    (8, 10, 3)
    """
    for name, length in (("height", height), ("width", width)):
        check_integer(name, length, at_least=1)
    return -(-height // network.stride), -(-width // network.stride), network.channels


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["weights"],
    meta_fields=["function", "name", "sha256", "sizes", "tiling"],
)
@dataclass(frozen=True, eq=False)  # Compared and hashed by identity, like a function, so that `jit` takes it.
class WrappedNetwork:
    """A user's function as a feature network; see `wrap`.

    Attributes:
      function: `function(weights, images)`, static.
      weights: its weights, the leaves.
      name: its name, for people.
      sha256: SHA-256 of its weights.
      sizes: channels and stride.
      tiling: see `tiling_of`.
    """

    function: Callable[[Any, Array], Array]
    weights: PyTree
    name: str
    sha256: str
    sizes: tuple[int, int]
    tiling: Tiling | None = None

    @property
    def channels(self) -> int:
        """Values at each place of the map."""
        return self.sizes[0]

    @property
    def stride(self) -> int:
        """Pixels from one place of the map to the next."""
        return self.sizes[1]

    def __call__(self, images: Images) -> FeatureMaps:
        """Return the features of images `[batch, height, width, channels]`, floating point in [0, 1]."""
        return self.function(self.weights, images)


@checked
def wrap(
    function: Callable[[Any, Array], Array],
    weights: PyTree,
    *,
    name: str,
    image_channels: int = 3,
    tiling: Tiling | None = None,
) -> WrappedNetwork:
    """Make a feature network of any function from images to maps.

    `jax.eval_shape` finds channels and stride, so the function does not run.

    Args:
      function: `function(weights, images)`, pure and traceable, from images `[batch, height, width, channels]` in
        float32 to maps `[batch, ceil(height / stride), ceil(width / stride), channels]`.
      weights: a pytree of arrays, `()` for none. Arrays that the function closes over are not part of `sha256`.
      name: its name, for people.
      image_channels: channels of the images that it takes.
      tiling: how large images may be cut into tiles, if a place does not see farther than a halo. Without it, images of
        any size are seen as a whole.

    Returns:
      A feature network.

    Raises:
      ArgumentTypeError: the weights are not numbers.
      ArgumentError: the tiles do not begin at places of the map.
      FeatureError: the function does not return maps, or no stride explains their size.

    >>> import jax.numpy as jnp
    >>> network = wrap(lambda mean, images: mean * images[:, ::8, ::8], jnp.ones(()), name="thinned")
    >>> network.stride, network.channels, network(jnp.ones((1, 20, 16, 3))).shape
    (8, 3, (1, 3, 2, 3))
    """
    check_integer("image_channels", image_channels, at_least=1)
    for path, leaf in jax.tree_util.tree_leaves_with_path(weights):
        check_unmasked(leaf, "weights")
        is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        if is_key or np.asarray(leaf).dtype.kind in "OUSM":
            raise ArgumentTypeError(
                f"weights with {type(leaf).__name__} at {jax.tree_util.keystr(path) or 'their root'}",
                "a pytree of arrays of numbers",
                "give anything else to the function by functools.partial",
                field="weights",
            )
    height, width = 512, 384
    maps = _shape_of_maps(function, weights, (2, height, width, image_channels))
    if len(maps) != 4 or maps[0] != 2 or 0 in maps:
        raise FeatureError(
            f"maps of shape {list(maps)} from images of shape [2, {height}, {width}, {image_channels}]",
            "[2, rows, columns, channels]",
            "return a map for each image, channels last",
        )
    stride = -(-height // maps[1])
    # An odd size distinguishes a stride from a division that rounds down.
    odd = _shape_of_maps(function, weights, (2, height + 1, width + 1, image_channels))
    for (rows, columns), (tall, wide) in ((maps[1:3], (height, width)), (odd[1:3], (height + 1, width + 1))):
        if (rows, columns) != (-(-tall // stride), -(-wide // stride)):
            raise FeatureError(
                f"a map of {rows}x{columns} for an image of {tall}x{wide}",
                f"{-(-tall // stride)}x{-(-wide // stride)}, as from a stride of {stride}",
                "pad the images inside of the function, or resize its maps",
            )
    if tiling is not None and (tiling.halo < 0 or tiling.multiple < 1 or tiling.multiple % stride):
        raise ArgumentError(argument("tiling", tiling), f"a halo of at least 0, and a multiple of the stride {stride}")
    if tiling is not None and tiling.halo % tiling.multiple:
        halo = -(-tiling.halo // tiling.multiple) * tiling.multiple
        raise ArgumentError(argument("tiling", tiling), f"a halo that is a multiple of {tiling.multiple}, e.g. {halo}")
    return WrappedNetwork(function, weights, name, _sha256(weights), (maps[3], stride), tiling)


def _shape_of_maps(
    function: Callable[[Any, Array], Array], weights: PyTree, images: tuple[int, ...]
) -> tuple[int, ...]:
    maps = jax.eval_shape(function, weights, jax.ShapeDtypeStruct(images, jnp.float32))
    if not isinstance(maps, jax.ShapeDtypeStruct) or not jnp.issubdtype(maps.dtype, jnp.floating):
        raise FeatureError(f"{maps} from the function", "one array of floating-point features")
    return maps.shape


def _sha256(weights: PyTree) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(weights):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{array.shape}{array.dtype.name}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@checked
def to_rgb(images: Images, smallest: int) -> Float[Array, "batch height width 3"]:
    """Check the images for a network, and repeat gray images to three channels.

    Args:
      images: `[batch, height, width, channels]`, floating point in [0, 1].
      smallest: height and width that the network needs, in pixels.

    Raises:
      ArgumentTypeError: the images are not a floating-point array.
      ArgumentError: the number of axes differs, there are neither 1 nor 3 channels, or the images are smaller.

    >>> import jax.numpy as jnp
    >>> to_rgb(jnp.ones((1, 32, 32, 1)), 32).shape
    (1, 32, 32, 3)
    """
    _, height, width, channels = images.shape
    if channels not in (1, 3):
        raise ArgumentError(f"images of {channels} channels", "1 (gray) or 3 (RGB)", "choose the channels to look at")
    if min(height, width) < smallest:
        raise ArgumentError(f"images of {height}x{width}", f"at least {smallest}x{smallest}", "enlarge or pad them")
    return jnp.broadcast_to(images, (*images.shape[:3], 3))
