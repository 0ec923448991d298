"""What a model must offer, as a type, and a model's first variables."""

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from jaxunreg.compilation import jit_once
from jaxunreg.decomposition import AllTerms, Decomposition
from jaxunreg.models.latent_space import LatentSpace
from jaxunreg.nn.config import Precision
from jaxunreg.typing import AnyImages, Images, PRNGKey, Variables


@runtime_checkable
class ModelConfig(Protocol):
    """What a model's config must offer. It is a frozen dataclass of JSON data and tuples, saved beside the weights."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images."""
        ...


@runtime_checkable
class Model(Protocol):
    """What a model must offer to be trained, scored, saved, calibrated and exported.

    A model is a Flax module with a config, and is hashable. `terms`, `pixel_terms`, `all_terms`, `training_terms` and
    `reconstruct` run with variables bound to the module; `jaxunreg.models.apply` calls them as functions of variables.
    All other members need no variables. `BaseModel` has defaults for them and for `all_terms`.

    `register_model` sets the name under which a model is saved.
    """

    @property
    def config(self) -> ModelConfig:
        """The sizes of the model and how it computes."""
        ...

    @property
    def unit(self) -> str:
        """Unit of D, A and M: `"nats"` for a model with a density, or `""`."""
        ...

    @property
    def arithmetic(self) -> str:
        """Arithmetic of the matrix products: `"float32"`, or a narrower dtype and how it is computed.

        Compare scores only with scores of the same arithmetic.
        """
        ...

    @property
    def latent_dim(self) -> int:
        """Number of latent dimensions; 0 for a model without latent variables."""
        ...

    @property
    def scoring_batch(self) -> int:
        """Batch size that scores fastest on a CPU."""
        ...

    @property
    def layer_outputs(self) -> int:
        """How many numbers all layers together compute for an image."""
        ...

    @property
    def init(self) -> Callable[..., Any]:
        """Make the variables: Flax's `init(key, images)`."""
        ...

    @property
    def apply(self) -> Callable[..., Any]:
        """Run a method: Flax's `apply(variables, ..., method=...)`."""
        ...

    def terms(self, images: Images) -> Decomposition:
        """Return the score of each image, `[batch]`; deterministic."""
        ...

    def pixel_terms(self, images: Images) -> Decomposition:
        """Return the score of each pixel, `[batch, height, width]`. Its sum over the pixels is `terms`."""
        ...

    def all_terms(self, images: Images) -> AllTerms:
        """`terms` and `pixel_terms`, from one forward pass where the model can."""
        ...

    def training_terms(self, images: Images, key: PRNGKey, *, train: bool = True) -> Decomposition:
        """Return the objective of each image, `[batch]`. Training minimises the mean of `d + a + m`.

        With `train`, batch normalisation uses the statistics of the batch and updates the collection `batch_stats`.
        """
        ...

    def reconstruct(self, images: Images) -> Images:
        """Return the images as the model expects them, same shape."""
        ...

    def for_platform(self, platform: str) -> "Model":
        """Return the same model, computed in the fastest way on a platform, given as `jax.Device.platform` names it.

        An exported program must leave that choice open. A training step runs where it is compiled, and tracing it takes
        half the time without the choice.
        """
        ...

    def for_one_core(self) -> "Model":
        """Return the same model for a program that one core of a CPU runs alone, while others score other images."""
        ...

    def native(self, precision: Precision | None = None) -> "Model":
        """Return the same model, computed by XLA's own operations, and with another precision if one is given."""
        ...

    def with_latent_dim(self, latent_dim: int) -> "Model":
        """Return the same model with another number of latent dimensions.

        Raises:
          ArgumentError: the model cannot have so many.
        """
        ...

    def with_latent_space(self, latent_space: LatentSpace) -> "Model":
        """Return the same model with the posterior and the noise of a latent space.

        A model that has no posterior and draws no noise returns itself.
        """
        ...

    def linear_start(self, images: AnyImages, key: PRNGKey, *, level: bool = False) -> Variables:
        """Return variables with which the model starts as the best linear model of these images.

        With `level`, the last few latent variables tell how large the residual is, and sigma follows them.

        Raises:
          ArgumentError: the model has no linear start, or none with a level.
        """
        ...


@jit_once
def init_variables(model: Any, key: PRNGKey) -> Variables:
    """Run `model.init` in one program. Op by op, a first call would compile about a hundred small programs.

    The model is an argument of the program, so the next seed of an equal model compiles nothing.

    >>> import jax, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> sorted(init_variables(model, jax.random.key(0)))
    ['batch_stats', 'params']
    """
    return model.init(key, jnp.zeros((1, *model.config.image_shape), jnp.float32))


def variables_like(model: Model) -> Variables:
    """Return the structure, shapes and dtypes of a model's variables."""
    images = jax.ShapeDtypeStruct((1, *model.config.image_shape), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)
