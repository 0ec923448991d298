"""Defaults for the members that a model may leave out."""

import math

from flax import linen as nn

from jaxunreg.decomposition import AllTerms
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.models.base import Model
from jaxunreg.models.latent_space import LatentSpace
from jaxunreg.nn.config import Precision
from jaxunreg.typing import AnyImages, Images, PRNGKey, Variables

# More numbers do not fit the processor's cache. This is 128 images of 32x32.
PIXELS_A_BATCH = 2**17


class BaseModel(nn.Module):
    """A Flax module to inherit from, with defaults for some members of `Model`.

    A subclass has a field `config`, a frozen dataclass with `image_shape`, and the methods `__call__(images)`, `terms`,
    `pixel_terms`, `training_terms` and `reconstruct`. By default it has a density and no latent variables, and computes
    in one way.
    """

    @property
    def unit(self) -> str:
        """Unit of D, A and M."""
        return "nats"

    @property
    def arithmetic(self) -> str:
        """Arithmetic of the matrix products."""
        return "float32"

    @property
    def latent_dim(self) -> int:
        """Number of latent dimensions; 0 for a model without latent variables."""
        return 0

    @property
    def scoring_batch(self) -> int:
        """How many images stay in a processor's cache together, a power of two."""
        height, width, _ = self.config.image_shape
        return power_of_two(PIXELS_A_BATCH / (height * width))

    @property
    def layer_outputs(self) -> int:
        """How many numbers all layers together compute for an image: the image, its mean and its log-variance."""
        return 3 * math.prod(self.config.image_shape)

    def all_terms(self, images: Images) -> AllTerms:
        """Return `terms` and `pixel_terms`, computed one after the other."""
        return AllTerms(self.terms(images), self.pixel_terms(images))

    @nn.nowrap
    def for_platform(self, platform: str) -> Model:
        """Return the model itself, which computes alike on all platforms."""
        del platform
        return self

    @nn.nowrap
    def for_one_core(self) -> Model:
        """Return the model itself, which computes alike on one core and on many."""
        return self

    @nn.nowrap
    def native(self, precision: Precision | None = None) -> Model:
        """Return the model itself, which has one precision."""
        del precision
        return self

    @nn.nowrap
    def with_latent_dim(self, latent_dim: int) -> Model:
        """Return the model itself.

        Raises:
          ArgumentError: a number of latent dimensions other than 0.
        """
        if latent_dim:
            raise ArgumentError(
                f"{argument('latent_dim', latent_dim)} for a {type(self).__name__}",
                "no latent dimensions, since this model has none",
                f"leave {argument('latent_dim')} out",
            )
        return self

    @nn.nowrap
    def with_latent_space(self, latent_space: LatentSpace) -> Model:
        """Return the model itself, which has no posterior and draws no noise."""
        del latent_space
        return self

    @nn.nowrap
    def linear_start(self, images: AnyImages, key: PRNGKey, *, level: bool = False) -> Variables:
        """Refuse: a model has no linear start by default.

        Raises:
          ArgumentError: always.
        """
        del images, key, level
        raise ArgumentError(
            f"{argument('start', 'linear')} with a {type(self).__name__}",
            "a model that has a linear start",
            f"use {argument('start', 'random')}",
        )


def power_of_two(number: float) -> int:
    """Return the power of two that is nearest to a number on a logarithmic scale, and at least 1.

    >>> power_of_two(100.0), power_of_two(0.2)
    (128, 1)
    """
    return int(2 ** max(0, round(math.log2(number))))
