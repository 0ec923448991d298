"""The sizes of an encoder and its decoder, and how they compute."""

import typing
from dataclasses import dataclass
from typing import Literal

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.nn.lowering import Lowering
from jaxunreg.signatures import check_fields

Precision = Literal["float32", "bfloat16"]

Initializer = Literal["he_normal", "he_uniform", "lecun_normal", "glorot_uniform"]


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Shape of the encoder and of the decoder that mirrors it.

    The paper fixes 4x4 kernels of stride 2 and padding 1, `base_channels * 2**(n - 1)` channels at layer n, batch
    normalisation and ReLU, and a fully connected layer to the latent space. It does not say how the weights start
    or how fast the batch statistics follow; those are the last fields.

    Attributes:
      image_shape: height, width and channels; height and width are multiples of `2**depth`.
      depth: number of convolution layers; the paper has 4 at 32x32 and 5 at 96x96.
      base_channels: N_c, channels of the first feature map.
      latent_dim: N_z, dimensions of the latent space.
      initializer: how kernels start. `he_normal` keeps the variance through ReLU. The fan-in of a kernel is the number
        of taps that reach one output (4 of 16 in a transposed layer).
      batch_norm_momentum: share of the old running average kept at each step (0.9 is PyTorch's `momentum=0.1`).
      batch_norm_epsilon: added to the variance.
      lowering: how the convolutions are computed. `auto` takes matrix products on a CPU, and the native convolution
        elsewhere. From the same weights, both give the same numbers up to rounding.
      precision: dtype of the operands of all matrix products. The products are accumulated in float32 either way.
        `bfloat16` is for accelerators, and on a CPU for scoring: training in it does not pay there. A CPU without
        instructions for it takes longer in both. On Linux, which lists them, a warning says so. Parameters,
        activations' statistics, D, A and M stay float32. Rounding adds to M: more where sigma is small, and most after
        a linear start. So compare and calibrate scores only with scores of the same precision and lowering.

    Raises:
      ArgumentError: a size is not a multiple of `2**depth`, or a field is out of its range.

    >>> NetworkConfig(image_shape=(32, 32, 3), depth=4).bottom_shape
    (2, 2, 256)
    >>> NetworkConfig(image_shape=(28, 28, 1), depth=4)
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got image_shape=(28, 28, 1) with depth=4; expected height and ...; ...
    """

    image_shape: tuple[int, int, int] = (32, 32, 3)
    depth: int = 4
    base_channels: int = 32
    latent_dim: int = 500
    initializer: Initializer = "he_normal"
    batch_norm_momentum: float = 0.9
    batch_norm_epsilon: float = 1e-5
    lowering: Lowering = "auto"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        wanted = "(height, width, channels), each above zero"
        if isinstance(self.image_shape, tuple | list) and len(self.image_shape) != 3:
            raise ArgumentError(argument("image_shape", self.image_shape), wanted)
        check_fields(self)
        object.__setattr__(self, "image_shape", tuple(self.image_shape))
        if min(self.image_shape) < 1:
            raise ArgumentError(argument("image_shape", self.image_shape), wanted)
        for name in ("depth", "base_channels", "latent_dim"):
            if getattr(self, name) < 1:
                raise ArgumentError(argument(name, getattr(self, name)), "at least 1")
        height, width, _ = self.image_shape
        # For a depth of thousands, 2**depth has more digits than Python prints.
        deepest = min(height, width).bit_length() - 1
        step = 2 ** min(self.depth, deepest + 1)
        if height % step or width % step:
            what = f"multiples of 2**{self.depth}" + (f" = {step}" if self.depth <= deepest else "")
            raise ArgumentError(
                f"{argument('image_shape', self.image_shape)} with {argument('depth', self.depth)}",
                f"height and width to be {what}",
                f"crop or pad the images, or lower {argument('depth')}",
            )
        for name, choices in (
            ("initializer", Initializer),
            ("lowering", Lowering),
            ("precision", Precision),
        ):
            if getattr(self, name) not in typing.get_args(choices):
                raise ArgumentError(argument(name, getattr(self, name)), f"one of {list(typing.get_args(choices))}")
        if not 0.0 <= self.batch_norm_momentum < 1.0:
            raise ArgumentError(argument("batch_norm_momentum", self.batch_norm_momentum), "0 <= value < 1")
        if not self.batch_norm_epsilon > 0.0:
            raise ArgumentError(argument("batch_norm_epsilon", self.batch_norm_epsilon), "a value above zero")

    @property
    def bottom_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the deepest feature map."""
        height, width, _ = self.image_shape
        step = 2**self.depth
        return height // step, width // step, self.base_channels * 2 ** (self.depth - 1)
