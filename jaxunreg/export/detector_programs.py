"""The computations of a detector as programs of fixed shapes, and what a runner must know besides."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxunreg.errors import ArgumentError
from jaxunreg.export.program import folded_variables
from jaxunreg.features.network import map_shape, native_of
from jaxunreg.features.tiles import cut_of
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.models import apply
from jaxunreg.scoring.feature_scorer import PLACES_A_BOX
from jaxunreg.scoring.scorer import Scorer

# Number of pixels of patches that pass through a model at a time.
_PIXELS_A_CALL = 2**17


class Program(NamedTuple):
    """A function of arrays of fixed shapes that contains its weights.

    Attributes:
      function: maps arrays to a tuple of arrays.
      inputs: shape and dtype of each argument by its name.
      outputs: names of the results.
      nbytes: bytes of its weights.
    """

    function: Callable[..., tuple[jax.Array, ...]]
    inputs: Mapping[str, jax.ShapeDtypeStruct]
    outputs: tuple[str, ...]
    nbytes: int


class DetectorPrograms(NamedTuple):
    """A detector as programs.

    Attributes:
      programs: programs by their names.
      geometry: how a runner passes an image through them, JSON data.
    """

    programs: Mapping[str, Program]
    geometry: dict[str, Any]


def detector_programs(detector: AnomalyDetector, *, native: bool) -> DetectorPrograms:
    """Return a detector as programs.

    In the space of features, `network` computes the features of a tile, or of the whole image if it is not large, and
    `density` computes the score of each place of the whole map. In the space of pixels, `patches` computes the score of
    each patch and of each of its pixels.

    Args:
      detector: any detector.
      native: whether the programs use XLA's own convolutions, which ONNX also has, in float32.

    Raises:
      ArgumentError: `native` is set, but the detector was calibrated in another arithmetic.
    """
    if native and detector.arithmetic != "float32":
        raise ArgumentError(
            f"a detector that was calibrated in {detector.arithmetic}",
            "one in float32, which is what ONNX computes in",
            "export it as StableHLO, or fit it again in float32",
            field="detector",
        )
    return _PROGRAMS[detector.scorer.space](detector, native)


def _of_features(detector: AnomalyDetector, native: bool) -> DetectorPrograms:
    scorer: Any = detector.scorer
    network = native_of(scorer.network) if native else scorer.network
    density, term = scorer.density, detector.term
    height, width = scorer.size
    axes = cut_of(network, height, width)
    tile = (height, width) if axes is None else (axes[0].seen, axes[1].seen)

    def look(image: jax.Array) -> tuple[jax.Array, ...]:
        return (network(image),)

    def judge(features: jax.Array) -> tuple[jax.Array, ...]:
        return (getattr(density(features), term),)

    shape = map_shape(network, height, width)
    return DetectorPrograms(
        {
            "network": Program(look, {"image": _floats(1, *tile, scorer.channels)}, ("features",), _nbytes(network)),
            "density": Program(judge, {"features": _floats(*shape)}, ("places",), _nbytes(density)),
        },
        {
            "working_size": [height, width],
            "map": list(shape),
            "places_a_box": PLACES_A_BOX,
            "tile": list(tile),
            "tiles": [[0, 0, 0, 0, *shape[:2], 0, 0]] if axes is None else _tiles(axes, network.stride),
        },
    )


def _tiles(axes: Any, stride: int) -> list[list[int]]:
    """Return where each tile begins in the image and its places in the map, how many they are, and after how many."""
    (own_rows, own_columns) = (axis.own // stride for axis in axes)
    return [
        [top, left, row, column, own_rows, own_columns, row - top // stride, column - left // stride]
        for top, row in zip(axes[0].seens, (own // stride for own in axes[0].owns), strict=True)
        for left, column in zip(axes[1].seens, (own // stride for own in axes[1].owns), strict=True)
    ]


def _of_pixels(detector: AnomalyDetector, native: bool) -> DetectorPrograms:
    scorer: Any = detector.scorer
    model = scorer.model.native("float32") if native else scorer.model
    variables = folded_variables(Scorer(model, scorer.variables))
    side, term = detector.smallest_image, detector.term
    count = max(1, _PIXELS_A_CALL // side**2)

    def judge(patches: jax.Array) -> tuple[jax.Array, ...]:
        pixels = getattr(apply.pixel_terms(model, variables, patches), term)
        return jnp.sum(pixels, axis=(1, 2)), pixels

    patches = {"patches": _floats(count, side, side, detector.channels)}
    return DetectorPrograms(
        {"patches": Program(judge, patches, ("places", "pixels"), _nbytes(variables))},
        {"patch": side, "stride": detector.stride, "patches_a_call": count},
    )


def _floats(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.float32)


def _nbytes(tree: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


_PROGRAMS: Mapping[str, Callable[[AnomalyDetector, bool], DetectorPrograms]] = {
    "features": _of_features,
    "pixels": _of_pixels,
}
