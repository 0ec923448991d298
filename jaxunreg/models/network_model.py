"""The base of the models that have an encoder and a decoder."""

import dataclasses
import math
from typing import Any

import jax
from flax import linen as nn

from jaxunreg.models.base import Model
from jaxunreg.models.base_model import PIXELS_A_BATCH, BaseModel, power_of_two
from jaxunreg.nn.config import NetworkConfig, Precision
from jaxunreg.nn.lowering import on_platform

# Fewest positions of the deepest feature map: 32 images of 96x96. Fewer make thin products.
_FEWEST_POSITIONS_A_BATCH = 2**8


class NetworkModel(BaseModel):
    """A model whose config is a `NetworkConfig`, with the paper's encoder and decoder.

    Attributes:
      config: sizes, and how the network computes.
      one_core: whether one core scores alone, see `for_one_core`. Training does not change.
    """

    config: NetworkConfig
    one_core: bool = dataclasses.field(default=False, kw_only=True)

    @property
    def arithmetic(self) -> str:
        """`"float32"`, or bfloat16 with the lowering, since Winograd's filtering rounds in other places.

        >>> import jaxunreg as ju
        >>> ju.VAE(ju.VAEConfig(precision="bfloat16", lowering="native")).arithmetic
        'bfloat16, native'
        """
        config = self.config
        if config.precision == "float32":
            return config.precision
        return f"{config.precision}, {on_platform(config.lowering, jax.default_backend())}"

    @property
    def latent_dim(self) -> int:
        """N_z."""
        return self.config.latent_dim

    @property
    def scoring_batch(self) -> int:
        """How many images fit a processor's cache together, or more where that would make thin matrix products."""
        pixels, positions = (math.prod(shape[:2]) for shape in (self.config.image_shape, self.config.bottom_shape))
        return power_of_two(max(PIXELS_A_BATCH / pixels, _FEWEST_POSITIONS_A_BATCH / positions))

    @property
    def part(self) -> int | None:
        """How many images the layers with large maps take at a time when they score; None for all."""
        return max(1, self.scoring_batch // 4) if self.one_core else None

    @property
    def layer_outputs(self) -> int:
        """How many numbers all layers together return for an image."""
        config = self.config
        height, width, channels = config.image_shape
        # Encoder and decoder each have a map of every size. The image and its mean and log-variance come last.
        return 3 * height * width * channels + sum(
            2 * (height >> layer) * (width >> layer) * config.base_channels * 2 ** (layer - 1)
            for layer in range(1, config.depth + 1)
        )

    @nn.nowrap
    def for_platform(self, platform: str) -> Model:
        """Return the same model with the lowering that `auto` stands for on one platform.

        >>> import jaxunreg as ju
        >>> model = ju.VAE(ju.VAEConfig())
        >>> model.for_platform("cpu").config.lowering, model.for_platform("tpu").config.lowering
        ('matmul', 'native')
        """
        return self.with_config(lowering=on_platform(self.config.lowering, platform))

    @nn.nowrap
    def for_one_core(self) -> Model:
        """Return the same model for one core of a CPU, which takes large maps in parts that stay in its own cache.

        >>> import jaxunreg as ju
        >>> model = ju.VAE(ju.VAEConfig(image_shape=(96, 96, 1), depth=5))
        >>> model.part is None, model.for_one_core().part
        (True, 8)
        """
        return self.for_platform("cpu").clone(one_core=True)

    @nn.nowrap
    def native(self, precision: Precision | None = None) -> Model:
        """Return the same model with native convolutions, and with another precision if one is given."""
        return self.with_config(lowering="native", precision=precision or self.config.precision)

    @nn.nowrap
    def with_latent_dim(self, latent_dim: int) -> Model:
        """Return the same model with another latent size.

        Raises:
          ArgumentError: a size below 1.
        """
        return self.with_config(latent_dim=latent_dim)

    @nn.nowrap
    def with_config(self, **changes: Any) -> Model:
        """Return the same model with other values of some of its config's fields."""
        return self.clone(config=dataclasses.replace(self.config, **changes))
