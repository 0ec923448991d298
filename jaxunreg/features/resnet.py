"""Residual networks in torchvision's layout up to `layer3`, from a file that the user has.

The papers of PaDiM and PatchCore use ResNet-18 and wide ResNet-50-2.

References:
  He, K. et al. Deep Residual Learning for Image Recognition. CVPR 2016.
  Zagoruyko, S. and Komodakis, N. Wide Residual Networks. BMVC 2016.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jax import lax
from jaxtyping import Array

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.features.convolutions import Convolution, convolve, fold_batch_norm
from jaxunreg.features.levels import join_levels
from jaxunreg.features.network import FeatureMaps, to_rgb
from jaxunreg.features.receptive_field import Layer, Tiling, tiling_of_levels
from jaxunreg.features.weights_file import WeightsError, read_weights
from jaxunreg.nn.config import Precision
from jaxunreg.paths import given_path
from jaxunreg.processor import warn_of_slow_bfloat16
from jaxunreg.signatures import checked
from jaxunreg.typing import Images

BATCH_NORM_EPSILON = 1e-5
# Mean and standard deviation of ImageNet's red, green and blue, as in the training of torchvision's networks.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The least height and width of an image, in pixels: two places at stride 16.
SMALLEST_IMAGE = 32
_LAYERS = 3


class Block(NamedTuple):
    """A residual block: two 3x3 convolutions, or in a bottleneck 1x1, 3x3 and 1x1.

    Attributes:
      convolutions: the convolutions of the residual.
      shortcut: a 1x1 convolution of the input, or None if the input is added unchanged.
    """

    convolutions: tuple[Convolution, ...]
    shortcut: Convolution | None


class Weights(NamedTuple):
    """All weights of the network, batch normalisation folded in.

    Attributes:
      stem: the first convolution.
      layers: blocks of `layer1`, `layer2` and `layer3`.
    """

    stem: Convolution
    layers: tuple[tuple[Block, ...], ...]


@partial(jax.tree_util.register_dataclass, data_fields=["weights"], meta_fields=["name", "sha256", "precision"])
@dataclass(frozen=True, eq=False)  # Compared and hashed by identity, like a function, so that `jit` takes it.
class ResNet:
    """A residual network as a `FeatureNetwork` at stride 8: PatchCore's `layer2` and `layer3`, joined.

    ResNet-18 has 128 + 256 = 384 channels and wide ResNet-50-2 has 512 + 1024 = 1536. Depth and widths follow from the
    weights, so it also reads ResNet-34, 50, 101 and 152. Gray images are repeated to three channels.

    Attributes:
      weights: the leaves.
      name: its name, for people.
      sha256: SHA-256 of the file of weights.
      precision: dtype of the operands of all matrix products; see `EfficientNetLite0`.
    """

    weights: Weights
    name: str
    sha256: str
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise ArgumentError(argument("precision", self.precision), f"one of {list(get_args(Precision))}")

    @classmethod
    def from_file(cls, path: str | Path, *, sha256: str | None = None, precision: Precision = "float32") -> "ResNet":
        """Read weights in torchvision's layout from a `.safetensors` file.

        Args:
          path: the file, which gives the network its name. In PyTorch,
            `safetensors.torch.save_file(torchvision.models.resnet18(weights="DEFAULT").state_dict(), path)` writes it.
          sha256: SHA-256 that the file must have, or None for any file.
          precision: see the attribute.

        Raises:
          ArgumentError, ArgumentTypeError: `path` is not a path.
          WeightsError: there is no such file, or its SHA-256, format or network is not the expected one.
        """
        path = given_path("path", path)
        content, found = read_weights(path, sha256)
        try:
            tensors = safetensors.numpy.load(content)
        except safetensors.SafetensorError as error:
            raise WeightsError(
                f"{path}, which cannot be read ({error})",
                "a .safetensors file",
                "the file is cut short or in another format; copy it again, or save the tensors with safetensors",
            ) from error
        network = dataclasses.replace(cls.from_tensors(tensors, name=path.stem, sha256=found), precision=precision)
        warn_of_slow_bfloat16(precision)
        return network

    @classmethod
    @checked
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], *, name: str, sha256: str) -> "ResNet":
        """Make the network of weights by their names in torchvision.

        Args:
          tensors: kernels `[out, in, k, k]`, and scale, bias, mean and variance of each batch norm. `layer4` and `fc`
            are ignored.
          name: its name, for people.
          sha256: SHA-256 of the file they are from.

        Raises:
          WeightsError: an array is missing, of another shape, or not finite.
        """
        return cls(_fold(tensors), name, sha256)

    @property
    def channels(self) -> int:
        """Values at each place of the map."""
        return sum(layer[-1].convolutions[-1].bias.shape[-1] for layer in self.weights.layers[1:])

    @property
    def stride(self) -> int:
        """Pixels from one place of the map to the next: 8."""
        return 8

    @property
    def tiling(self) -> Tiling:
        """Large images are cut into tiles at multiples of 16 pixels, with a halo that depends on the depth."""
        layers = [Layer(7, 2, 3), Layer(3, 2, 1)]
        levels = []
        for number, blocks in enumerate(self.weights.layers):
            for position, block in enumerate(blocks):
                for step, layer in enumerate(block.convolutions):
                    kernel = layer.kernel.shape[0]
                    strided = number > 0 and position == 0 and step == _strided(block)
                    layers.append(Layer(kernel, 2 if strided else 1, kernel // 2))
            levels.append(tuple(layers))
        return tiling_of_levels(levels[1:])

    @property
    def arithmetic(self) -> str:
        """The precision."""
        return self.precision

    def native(self) -> "ResNet":
        """Return the same network in float32, for export."""
        return dataclasses.replace(self, precision="float32")

    def __call__(self, images: Images) -> FeatureMaps:
        """Features of images.

        Args:
          images: `[batch, height, width, 1 or 3]`, floating point in [0, 1], height and width at least 32.

        Returns:
          `[batch, ceil(height / 8), ceil(width / 8), channels]`, the dtype of the images.

        Raises:
          ArgumentError: the images have another number of channels, or are smaller.
        """
        return join_levels(self.levels(images)[1:])

    def levels(self, images: Images) -> tuple[FeatureMaps, ...]:
        """Return the outputs of `layer1`, `layer2` and `layer3`, at stride 4, 8 and 16.

        Args:
          images: as above.

        Raises:
          ArgumentError: as above.
        """
        return _levels(self.precision, self.weights, to_rgb(images, SMALLEST_IMAGE))


# Outside of a user's program, this is one compiled program instead of one for each operation.
@partial(jax.jit, static_argnums=0)
def _levels(precision: Precision, weights: Weights, images: Array) -> tuple[Array, ...]:
    mean, std = (jnp.asarray(values, images.dtype).reshape(1, 1, 1, 3) for values in (IMAGENET_MEAN, IMAGENET_STD))
    x = jax.nn.relu(convolve((images - mean) / std, weights.stem, 2, ((3, 3), (3, 3)), precision))
    border = ((0, 0), (1, 1), (1, 1), (0, 0))
    # With a NumPy constant, JAX recognises a maximum pooling, whose gradient it knows.
    x = lax.reduce_window(x, np.asarray(-np.inf, x.dtype), lax.max, (1, 3, 3, 1), (1, 2, 2, 1), border)
    outputs = []
    for number, blocks in enumerate(weights.layers):
        for position, block in enumerate(blocks):
            x = _block(x, block, 2 if number > 0 and position == 0 else 1, precision)
        outputs.append(x)
    return tuple(outputs)


def _block(x: Array, block: Block, stride: int, precision: Precision) -> Array:
    strided = _strided(block)
    y = x
    for position, layer in enumerate(block.convolutions):
        pad = layer.kernel.shape[0] // 2
        y = convolve(y, layer, stride if position == strided else 1, ((pad, pad), (pad, pad)), precision)
        if position < len(block.convolutions) - 1:
            y = jax.nn.relu(y)
    shortcut = x if block.shortcut is None else convolve(x, block.shortcut, stride, precision=precision)
    return jax.nn.relu(y + shortcut)


def _strided(block: Block) -> int:
    """Return the index of the convolution with the stride, the first 3x3: the first of two or the second of three."""
    return len(block.convolutions) - 2


def _fold(tensors: Mapping[str, np.ndarray]) -> Weights:
    fold = partial(fold_batch_norm, tensors, epsilon=BATCH_NORM_EPSILON)
    stem = fold("conv1", "bn1", (None, 3, 7, 7))
    layers, channels = [], stem.bias.shape[0]
    for number in range(1, _LAYERS + 1):
        blocks: list[Block] = []
        while not blocks or f"layer{number}.{len(blocks)}.conv1.weight" in tensors:
            name = f"layer{number}.{len(blocks)}"
            sizes = (1, 3, 1) if f"{name}.conv3.weight" in tensors else (3, 3)
            convolutions, width = [], channels
            for position, k in enumerate(sizes, start=1):
                convolutions.append(fold(f"{name}.conv{position}", f"{name}.bn{position}", (None, width, k, k)))
                width = convolutions[-1].bias.shape[0]
            shortcut = None
            if width != channels or f"{name}.downsample.0.weight" in tensors:
                shortcut = fold(f"{name}.downsample.0", f"{name}.downsample.1", (width, channels, 1, 1))
            blocks.append(Block(tuple(convolutions), shortcut))
            channels = width
        layers.append(tuple(blocks))
    return Weights(stem, tuple(layers))
