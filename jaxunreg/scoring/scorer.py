"""D, A and M of a trained model: as a pure function, and as a callable pytree."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxunreg.decomposition import Decomposition
from jaxunreg.doors import check_kind
from jaxunreg.errors import ArgumentError, ArgumentTypeError
from jaxunreg.images import check_images, to_float
from jaxunreg.models import apply
from jaxunreg.models.base import Model
from jaxunreg.processor import warn_of_slow_bfloat16
from jaxunreg.scoring.image_maps import ImageMaps
from jaxunreg.scoring.map_scorer import Space
from jaxunreg.scoring.patches import check_stride
from jaxunreg.typing import AnyImage, Variables

# Standard deviation of the Gaussian that smooths shown heat maps, in patches. A pixel's term depends on one draw of its
# noise, and readers look at its surroundings.
_SMOOTHING = 1 / 32


def decompose(model: Model, variables: Variables, image: AnyImage) -> Decomposition:
    """Decompose the score of one image into D, A and M, at the posterior mean.

    `L(x) = D(x) + A(x) + M(x)` (eq. 5 and 6 of the paper). This is a pure, deterministic and differentiable function of
    its arguments. `jax.vmap` makes it a function of a batch.

    Args:
      model: a `VAE`, an `Autoencoder` or another `Model`.
      variables: what `model.init` or `fit` made.
      image: `[height, width, channels]` of the shape in the model's config; uint8, or floating point in [0, 1].

    Returns:
      Float32 scalars, in nats, higher is more anomalous. An autoencoder has its mean squared error as M.

    Raises:
      ArgumentTypeError: the image is neither uint8 nor floating point.
      ArgumentError: the shape differs, or, outside of `jit` and `vmap`, values are not finite or not in [0, 1].

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    >>> terms = ju.decompose(model, variables, jnp.full((8, 8, 1), 0.5))
    >>> bool(terms.m >= 0), bool(terms.nelbo == terms.d + terms.a + terms.m)
    (True, True)
    """
    _check_parts(model, variables)
    check_images(image, model.config.image_shape)
    terms = apply.terms(model, variables, to_float(image)[None])
    return jax.tree.map(lambda term: term[0], terms)


@partial(jax.tree_util.register_dataclass, data_fields=["variables"], meta_fields=["model"])
@dataclass(frozen=True, eq=False)  # Compared and hashed by identity, like a function, so that `jit` takes it.
class Scorer:
    """A model and its variables as one callable pytree, from an image to a `Decomposition`.

    The variables are the leaves, so a scorer is an argument like any array. Pass it to `jit`, `vmap` or `grad`, or
    stack several and `vmap` over them. See `make_scorer`.

    Attributes:
      model: the network, static.
      variables: its parameters and batch statistics.
    """

    model: Model
    variables: Variables

    def __call__(self, image: AnyImage) -> Decomposition:
        """Return D, A and M of one image `[height, width, channels]`; see `decompose`."""
        return decompose(self.model, self.variables, image)

    @property
    def space(self) -> Space:
        """`pixels`."""
        return "pixels"

    @property
    def unit(self) -> str:
        """Unit of D, A and M: the model's."""
        return self.model.unit

    @property
    def arithmetic(self) -> str:
        """Arithmetic of the matrix products: the model's."""
        return self.model.arithmetic

    @property
    def channels(self) -> int:
        """1 for gray images, 3 for RGB."""
        return self.model.config.image_shape[2]

    @property
    def smallest_image(self) -> int:
        """Height and width of a patch: the model's."""
        return min(self.model.config.image_shape[:2])

    @property
    def smoothing(self) -> float:
        """Standard deviation of the smoothing of shown heat maps, in pixels: 3 for patches of 96."""
        return self.smallest_image * _SMOOTHING

    @property
    def learned(self) -> Variables:
        """The variables."""
        return self.variables

    def describe(self) -> dict[str, Any]:
        """Return the model's config."""
        return dataclasses.asdict(self.model.config)

    def check_stride(self, name: str, stride: int) -> None:
        """Refuse a stride below one or longer than a patch, and a model of images that are not square.

        Args:
          name: name of the argument, for the error.
          stride: pixels from one patch to the next.

        Raises:
          ArgumentError: the stride or the model is refused.
        """
        height, width, _ = self.model.config.image_shape
        if height != width:
            raise ArgumentError(
                f"a model of {height}x{width} images",
                "as many rows as columns for a detector",
                "train a model of square images",
                field="scorer",
            )
        check_stride(name, stride, height)

    def maps_each(
        self,
        images: Iterable[Array | np.ndarray],
        *,
        stride: int,
        pixels: bool = True,
        pixel_stride: int | None = None,
    ) -> Iterator[ImageMaps]:
        """Yield D, A and M of every patch and pixel of images of any sizes; see `jaxunreg.scoring.maps_each`."""
        from jaxunreg.scoring.each import maps_each  # is made of scorers

        return maps_each(self, images, stride=stride, pixels=pixels, pixel_stride=pixel_stride)


def make_scorer(model: Model, variables: Variables) -> Scorer:
    """Make a callable pytree that scores one image: `scorer(image)` is `decompose(model, variables, image)`.

    Args:
      model: a `VAE`, an `Autoencoder` or another `Model`.
      variables: what `model.init` or `fit` made.

    Returns:
      The scorer, a pure function of one image `[height, width, channels]`.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jax.random.uniform(jax.random.key(1), (5, 8, 8, 1))
    >>> scorer = ju.make_scorer(model, model.init(jax.random.key(0), images))
    >>> jax.jit(jax.vmap(scorer))(images).m.shape
    (5,)
    >>> jax.grad(lambda image: scorer(image).m)(images[0]).shape
    (8, 8, 1)
    """
    warn_of_slow_bfloat16(model.arithmetic)
    return Scorer(model, variables)


def fold(model: Model, variables: Variables) -> Variables:
    """Return variables that score faster: batch normalisation is folded into the weights, and kernels are prepared.

    The scores are the same up to rounding. `score_images` folds once for all its images, and for later calls with the
    same scorer. Call `fold` before your own loop. Folded variables cannot be trained.

    Args:
      model: a `VAE`, an `Autoencoder` or another `Model`.
      variables: what `model.init` or `fit` made.

    Returns:
      The variables with one more collection, `folded`. `decompose` and `make_scorer` accept them too.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    >>> image = jnp.full((8, 8, 1), 0.5)
    >>> terms, same = (ju.decompose(model, v, image) for v in (variables, fold(model, variables)))
    >>> bool(jnp.allclose(terms.nelbo, same.nelbo))
    True
    """
    _check_parts(model, variables)
    images = jnp.zeros((1, *model.config.image_shape), jnp.float32)
    return {**variables, **apply.folded(model, variables, images)}


@jax.jit
def fold_scorer(scorer: Scorer) -> Scorer:
    """Return a scorer of folded variables; see `fold`."""
    return Scorer(scorer.model, fold(scorer.model, scorer.variables))


def check_scorer(scorer: Scorer) -> None:
    """Refuse an argument that is not a scorer of pixels.

    Raises:
      ArgumentTypeError: it is not a `Scorer`.
    """
    check_kind("scorer", scorer, Scorer, "a Scorer", "make it by ju.make_scorer(model, variables)")


def _check_parts(model: Model, variables: Variables) -> None:
    check_kind("model", model, Model, "a model such as a VAE", "make it by ju.VAE(ju.VAEConfig(...))")
    check_kind("variables", variables, Mapping, "a tree of variables", "take what model.init or fit made")
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        if not hasattr(leaf, "dtype") or not hasattr(leaf, "shape"):
            raise ArgumentTypeError(
                f"variables with {type(leaf).__name__} at {jax.tree_util.keystr(path)}",
                "arrays in a tree of variables",
                "take what model.init or fit made",
                field="variables",
            )
