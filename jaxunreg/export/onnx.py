"""The scorer as ONNX, for any program with an ONNX runtime."""

import json
import os
from typing import Any

import jax
import numpy as np

from jaxunreg.errors import ArgumentError, JaxunregError, argument
from jaxunreg.export.onnx_graph import import_for_export
from jaxunreg.export.onnx_tracing import to_onnx
from jaxunreg.export.program import OUTPUTS, describe_export, input_images, program_of
from jaxunreg.files import replacing
from jaxunreg.paths import given_path
from jaxunreg.scoring.map_scorer import MapScorer
from jaxunreg.signatures import checked

# Besides the weights, a file holds the graph.
_MOST_BYTES = 2**31 - 2**24


class OnnxMismatchError(JaxunregError, RuntimeError):
    """The scores of ONNX Runtime and JAX differ."""


@checked
def export_onnx(
    scorer: MapScorer, path: str | os.PathLike[str], *, dtype: str = "float32", opset: int = 17
) -> dict[str, float]:
    """Write the scorer as an ONNX model that contains its variables, for batches of any size.

    The graph has `Conv` and `ConvTranspose` nodes with folded batch normalisation, in float32 for every precision of
    the model. Its input is `images`, its outputs are `d`, `a` and `m`, and its metadata describes the scorer. The file
    appears only after ONNX Runtime has scored random images with it and its scores agreed with JAX's up to rounding.

        session = onnxruntime.InferenceSession("scorer.onnx")
        d, a, m = session.run(["d", "a", "m"], {"images": images})

    Needs the extra `export`: `pip install 'jaxunreg[export]'`.

    Args:
      scorer: from `make_scorer`, or a `FeatureScorer`, whose images then have its working size.
      path: the file, which is replaced if it exists.
      dtype: dtype of the images `[batch, height, width, channels]` that the model takes: `float32` in [0, 1] or
        `uint8`.
      opset: version of ONNX's operators, 13 or later. Runtimes since 2022 read 17.

    Returns:
      For `d`, `a` and `m` the largest difference between ONNX Runtime and JAX in that check, in nats.

    Raises:
      MissingPackageError: onnx or onnxruntime is not installed.
      ArgumentError: the dtype is unknown, the weights are too large for an ONNX file, or the network has an operation
        of JAX without known ONNX nodes.
      OnnxMismatchError: the scores differ by more than rounding. Nothing is written.
      OSError: the file cannot be written.
    """
    onnx, onnxruntime = (import_for_export(name) for name in ("onnx", "onnxruntime"))
    program = program_of(scorer, native=True)
    check_size(program.nbytes, "write it by export_scorer")
    images = input_images(program.shape, dtype)
    proto = to_onnx(program.function, {"images": images}, OUTPUTS, opset=opset)
    onnx.helper.set_model_props(proto, {"jaxunreg": json.dumps(describe_export(program.made_of, images))})
    onnx.checker.check_model(proto, full_check=True)
    serialized = proto.SerializeToString()
    differences = _compare(onnxruntime, serialized, program.function, images)
    with replacing(given_path("path", path)) as temporary:
        temporary.write_bytes(serialized)
    return differences


def check_size(nbytes: int, other: str) -> None:
    """Refuse weights that are too large for an ONNX file.

    Args:
      nbytes: bytes of the weights.
      other: the alternative, for the error.

    Raises:
      ArgumentError: the weights are too large.
    """
    if nbytes > _MOST_BYTES:
        raise ArgumentError(
            f"a scorer with {nbytes / 1e9:.1f} GB of weights",
            f"at most {_MOST_BYTES / 1e9:.1f} GB, since an ONNX file has less than 2 GiB",
            f"{other}, or fit at a lower {argument('resolution')}",
            field="scorer",
        )


def _compare(onnxruntime: Any, serialized: bytes, program: Any, images: jax.ShapeDtypeStruct) -> dict[str, float]:
    """Return the largest difference of each term over three random images, after checking that it is rounding."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).integers(0, 256, (3, *images.shape[1:]), dtype=np.uint8)
    batch = pixels if images.dtype == np.uint8 else (pixels / 255).astype(np.float32)
    got = session.run(list(OUTPUTS), {"images": batch})
    # A GPU or TPU would otherwise multiply with fewer bits.
    with jax.default_matmul_precision("highest"):
        want = jax.jit(program)(batch)
    differences = {}
    for name, ours, theirs in zip(OUTPUTS, want, got, strict=True):
        differences[name] = float(np.max(np.abs(np.asarray(ours) - theirs)))
        # The sum over pixels can cancel, so its parts count, too.
        if not np.allclose(theirs, ours, rtol=1e-3, atol=1e-5 * batch[0].size):
            raise OnnxMismatchError(
                f"{name} = {theirs} from ONNX Runtime {onnxruntime.__version__} where JAX has {np.asarray(ours)}",
                "the same to rounding",
                "nothing was written; try another opset, or another version of onnxruntime",
                name,
            )
    return differences
