"""The parts that all exported scorers share: the program, its input and its description."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.features.network import native_of
from jaxunreg.features.tiles import look_at
from jaxunreg.finite import check_finite
from jaxunreg.images import to_float
from jaxunreg.models import apply
from jaxunreg.models.base import Model
from jaxunreg.models.registry import describe_model
from jaxunreg.provenance import versions
from jaxunreg.scoring.map_scorer import MapScorer
from jaxunreg.scoring.scorer import Scorer, fold
from jaxunreg.serialization import to_json
from jaxunreg.typing import PyTree, Variables

Pixels = Literal["float32", "uint8"]

FORMAT = 1

OUTPUTS = ("d", "a", "m")


def scoring_program(model: Model, variables: Variables) -> Any:
    """Return a function from images to a tuple of D, A and M, which can be read without this package."""

    def score(images: Any) -> tuple[jax.Array, ...]:
        terms: Any = apply.terms(model, variables, to_float(images))
        return tuple(terms)

    return score


def folded_variables(scorer: Scorer) -> Variables:
    """Return variables with batch normalisation folded in, and unprepared kernels.

    Prepared kernels (`jaxunreg.scoring.fold`) would come in addition to those for the native convolution: 114 MB
    instead of 25 for the paper's network for 96x96x1. They would not be faster, because the compiler prepares a
    constant once.
    """
    native = scorer.model.native()
    variables = jax.jit(lambda variables: fold(native, variables))(scorer.variables)
    # Through the host, so that arrays that were spread over devices are on one.
    return jax.tree.map(jnp.asarray, jax.device_get(variables))


class ScoringProgram(NamedTuple):
    """A scorer as a program for export.

    Attributes:
      function: maps images `[batch, *shape]` to a tuple of D, A and M, each `[batch]`.
      shape: height, width and channels of an image.
      made_of: description of the scorer, JSON data.
      nbytes: bytes of its weights.
    """

    function: Callable[[Any], tuple[jax.Array, ...]]
    shape: tuple[int, int, int]
    made_of: dict[str, Any]
    nbytes: int


def program_of(scorer: MapScorer, *, native: bool = False) -> ScoringProgram:
    """Return a scorer of either space as a program that contains its weights.

    Args:
      scorer: a scorer of pixels or of features.
      native: whether to use XLA's own convolutions on each platform, in float32, which ONNX can express.

    Raises:
      ArgumentError: the weights are not finite.
    """
    check_finite(scorer.learned)
    return _PROGRAMS[scorer.space](scorer, native)


def _of_pixels(scorer: Any, native: bool) -> ScoringProgram:
    model = scorer.model.native("float32") if native else scorer.model
    variables = folded_variables(Scorer(model, scorer.variables))
    made_of = {"model": describe_model(scorer.model)}
    return ScoringProgram(
        scoring_program(model, variables), scorer.model.config.image_shape, made_of, _nbytes(variables)
    )


def _of_features(scorer: Any, native: bool) -> ScoringProgram:
    network = native_of(scorer.network) if native else scorer.network
    # An ONNX graph of tiles would be slower than one of the whole image.
    look = network if native else partial(look_at, network)
    # ONNX has loops only over float32.
    density = jax.tree.map(lambda leaf: leaf.astype("float32"), scorer.density) if native else scorer.density

    # The network takes the whole batch: jax2onnx has no rule for `vmap` over some of its operations.
    def score(images: Any) -> tuple[jax.Array, ...]:
        maps = jax.vmap(density)(look(to_float(images)))
        return tuple(jnp.sum(term, axis=(1, 2)) for term in maps)

    made_of = {"features": to_json(scorer.describe())}
    return ScoringProgram(score, (*scorer.size, scorer.channels), made_of, _nbytes((network, density)))


def _nbytes(tree: PyTree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


_PROGRAMS: Mapping[str, Callable[[Any, bool], ScoringProgram]] = {"pixels": _of_pixels, "features": _of_features}


def input_images(shape: tuple[int, int, int], dtype: str) -> jax.ShapeDtypeStruct:
    """Return a description of any number of images of a shape and a dtype.

    Raises:
      ArgumentError: the dtype is unknown.
    """
    if dtype not in get_args(Pixels):
        raise ArgumentError(argument("dtype", dtype), f"one of {list(get_args(Pixels))}")
    (batch,) = export.symbolic_shape("batch")
    return jax.ShapeDtypeStruct((batch, *shape), dtype)


def describe_export(made_of: Mapping[str, Any], images: jax.ShapeDtypeStruct) -> dict[str, Any]:
    return {
        "format": FORMAT,
        **made_of,
        "input": {
            "shape": ["batch", *images.shape[1:]],
            "dtype": str(images.dtype),
            "range": [0, 255] if images.dtype == np.uint8 else [0.0, 1.0],
        },
        "outputs": list(OUTPUTS),
        "versions": versions(("jax",)),
    }
