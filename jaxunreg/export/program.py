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
    """Images to D, A and M, a tuple, which needs no registration to be read without this package."""

    def score(images: Any) -> tuple[jax.Array, ...]:
        terms: Any = apply.terms(model, variables, to_float(images))
        return tuple(terms)

    return score


def folded_variables(scorer: Scorer) -> Variables:
    """Variables with batch normalisation folded in, and the kernels as they are.

    Prepared kernels (`jaxunreg.scoring.fold`) would be there beside those for the native convolution: 114 MB and not
    25 for the paper's network for 96x96x1, and no faster, since the compiler does the same once with a constant.
    """
    native = scorer.model.native()
    variables = jax.jit(lambda variables: fold(native, variables))(scorer.variables)
    # By way of the host, so that what was spread over devices is on one.
    return jax.tree.map(jnp.asarray, jax.device_get(variables))


class ScoringProgram(NamedTuple):
    """A scorer as a program that is exported.

    Attributes:
      function: images `[batch, *shape]` to D, A and M, a tuple of `[batch]`.
      shape: height, width and channels of an image.
      made_of: what scores, JSON data.
      nbytes: of its weights.
    """

    function: Callable[[Any], tuple[jax.Array, ...]]
    shape: tuple[int, int, int]
    made_of: dict[str, Any]
    nbytes: int


def program_of(scorer: MapScorer, *, native: bool = False) -> ScoringProgram:
    """A scorer of either space as a program with its weights in it.

    Args:
      scorer: of pixels or of features.
      native: whether it has XLA's own convolutions on each platform, and is in float32, which ONNX can express.

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
    look = network if native else partial(look_at, network)  # An ONNX graph of tiles would be slower than of the whole.
    # ONNX has loops over float32 alone.
    density = jax.tree.map(lambda leaf: leaf.astype("float32"), scorer.density) if native else scorer.density

    # The network takes a batch as it is: jax2onnx has no rule for `vmap` over some of its operations.
    def score(images: Any) -> tuple[jax.Array, ...]:
        maps = jax.vmap(density)(look(to_float(images)))
        return tuple(jnp.sum(term, axis=(1, 2)) for term in maps)

    made_of = {"features": to_json(scorer.describe())}
    return ScoringProgram(score, (*scorer.size, scorer.channels), made_of, _nbytes((network, density)))


def _nbytes(tree: PyTree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


_PROGRAMS: Mapping[str, Callable[[Any, bool], ScoringProgram]] = {"pixels": _of_pixels, "features": _of_features}


def input_images(shape: tuple[int, int, int], dtype: str) -> jax.ShapeDtypeStruct:
    """Images of any number, of a shape and a dtype.

    Raises:
      ArgumentError: an unknown dtype.
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
