"""The layers of EfficientNet-Lite0 up to stride 16, and their weights by their names in PyTorch."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from jaxunreg.features.convolutions import Convolution, fold_batch_norm
from jaxunreg.features.receptive_field import Layer

BATCH_NORM_EPSILON = 1e-3


class Stage(NamedTuple):
    """Blocks that share a size: `repeats` of them. The first has the stride and changes the channels."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STEM_CHANNELS = 32
STEM_KERNEL = 3
STAGES = (
    Stage(repeats=1, kernel=3, stride=1, expansion=1, channels=16),
    Stage(repeats=2, kernel=3, stride=2, expansion=6, channels=24),
    Stage(repeats=2, kernel=5, stride=2, expansion=6, channels=40),
    Stage(repeats=3, kernel=3, stride=2, expansion=6, channels=80),
    Stage(repeats=3, kernel=5, stride=1, expansion=6, channels=112),
)


class Block(NamedTuple):
    """An inverted bottleneck: 1x1 to more channels, depthwise, and 1x1 to few channels.

    Attributes:
      expand: convolution to `expansion` times as many channels, or None if that is one.
      depthwise: one filter for each channel.
      project: convolution to the block's channels, without an activation.
    """

    expand: Convolution | None
    depthwise: Convolution
    project: Convolution


class Weights(NamedTuple):
    """All weights of the network, batch normalisation folded in.

    Attributes:
      stem: the first convolution.
      stages: blocks of each stage.
    """

    stem: Convolution
    stages: tuple[tuple[Block, ...], ...]


def layers_of_stages() -> list[tuple[Layer, ...]]:
    """Return the layers with a kernel up to each stage, with the padding of `same_padding` for even sizes.

    >>> [len(layers) for layers in layers_of_stages()]
    [2, 4, 6, 9, 12]
    """
    layers, levels = [Layer(STEM_KERNEL, 2, (STEM_KERNEL - 2) // 2)], []
    for stage in STAGES:
        for position in range(stage.repeats):
            stride = stage.stride if position == 0 else 1
            layers.append(Layer(stage.kernel, stride, (stage.kernel - stride) // 2))
        levels.append(tuple(layers))
    return levels


def fold_weights(tensors: Mapping[str, np.ndarray]) -> Weights:
    """Return the weights with batch normalisation folded in.

    Args:
      tensors: see `EfficientNetLite0.from_tensors`.

    Raises:
      WeightsError: an array is missing, of another shape, or not finite.
    """
    fold = partial(fold_batch_norm, tensors, epsilon=BATCH_NORM_EPSILON)
    stem = fold("_conv_stem", "_bn0", (STEM_CHANNELS, 3, STEM_KERNEL, STEM_KERNEL))
    stages, channels, number = [], STEM_CHANNELS, 0
    for stage in STAGES:
        blocks = []
        for _ in range(stage.repeats):
            name, wide = f"_blocks.{number}", channels * stage.expansion
            blocks.append(
                Block(
                    expand=fold(f"{name}._expand_conv", f"{name}._bn0", (wide, channels, 1, 1))
                    if stage.expansion > 1
                    else None,
                    depthwise=fold(f"{name}._depthwise_conv", f"{name}._bn1", (wide, 1, stage.kernel, stage.kernel)),
                    project=fold(f"{name}._project_conv", f"{name}._bn2", (stage.channels, wide, 1, 1)),
                )
            )
            channels, number = stage.channels, number + 1
        stages.append(tuple(blocks))
    return Weights(stem, tuple(stages))
