"""A whole detector as a folder that programs without this package can run."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import jax
import numpy as np
from jax import export

from jaxunreg.errors import ArgumentError, CheckpointError, argument
from jaxunreg.export import jaxunreg_runner as runner
from jaxunreg.export.detector_programs import Program, detector_programs
from jaxunreg.export.export_check import RUNNER_FILE, check_export
from jaxunreg.export.export_description import check_carried, describe, save_masks, write_description
from jaxunreg.export.onnx import check_size
from jaxunreg.export.onnx_graph import import_for_export
from jaxunreg.export.onnx_tracing import to_onnx
from jaxunreg.export.stablehlo import check_platforms, runs_here, without_folders
from jaxunreg.files import temporary_sibling
from jaxunreg.finite import check_finite
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.detector_folder import cannot_write
from jaxunreg.paths import given_path
from jaxunreg.provenance import versions
from jaxunreg.signatures import checked

ExportFormat: TypeAlias = Literal["onnx", "stablehlo"]
"""The formats of the programs of an exported detector."""

_SUFFIXES: Mapping[str, str] = {"onnx": ".onnx", "stablehlo": ".jaxexport"}

_OPSET = 17


@checked
def export_detector(
    detector: AnomalyDetector,
    directory: str | os.PathLike[str],
    *,
    format: str = "onnx",
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
) -> Path:
    """Write a whole detector as one folder, from image to score, p-value, verdict, box and heat map, without pickle.

    The folder holds the feature network and the learned arrays as ONNX graphs or StableHLO programs, `exported.json`
    with threshold, held-out scores, the rule of the image's score, tiling and checksums, and `jaxunreg_runner.py`,
    which needs only that folder, NumPy and ONNX Runtime (or JAX). The folder appears only after the runner has scored
    images in it like this detector, unless it is for other platforms than this one.

    Args:
      detector: any detector. For `onnx` it must be calibrated in float32.
      directory: a folder that does not exist yet, or is empty.
      format: `onnx`, for ONNX Runtime, needs the extra `export`. `stablehlo` is for JAX: versions up to six months
        newer than the one that wrote a file can read it.
      platforms: for `stablehlo`, some of `cpu`, `cuda`, `rocm` and `tpu`.

    Returns:
      The folder.

    Raises:
      MissingPackageError: onnx or onnxruntime is not installed.
      ArgumentError: the format or platform is unknown, or the format or the export cannot express the detector.
      ExportMismatchError: the runner gives another score. Nothing is written.
      CheckpointError: the folder is not empty or cannot be written.
    """
    if format not in get_args(ExportFormat):
        raise ArgumentError(argument("format", format), f"one of {list(get_args(ExportFormat))}")
    check_platforms(platforms)
    for package in ("onnx", "onnxruntime") if format == "onnx" else ():
        import_for_export(package)
    check_carried(detector)
    check_finite(detector.scorer.learned)
    target = given_path("directory", directory).absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(f"{directory}, which is already used", "a new or empty folder", "choose another one")
    found = detector_programs(detector, native=format == "onnx")
    temporary = temporary_sibling(target)
    try:
        temporary.mkdir(parents=True)
        files = {name: f"{name}{_SUFFIXES[format]}" for name in found.programs}
        for name, program in found.programs.items():
            (temporary / files[name]).write_bytes(_WRITERS[format](program, platforms))
        shutil.copyfile(runner.__file__, temporary / RUNNER_FILE)
        about = {**describe(detector), **save_masks(temporary, detector), **_PROVENANCE[format](), **found.geometry}
        write_description(temporary, {**about, "program_format": format, "programs": files})
        if format == "onnx" or runs_here(platforms):
            check_export(temporary, detector, _example_images(detector))
        os.replace(temporary, target)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _example_images(detector: AnomalyDetector) -> list[np.ndarray]:
    """Return an image of noise and a smooth one, of a size that needs resizing or that a patch does not divide."""
    smallest = detector.smallest_image
    size = (smallest + 40, smallest + 64)
    masks = [region.mask for region in detector.named_regions]
    for mask in masks if detector.ignored is None else [detector.ignored]:
        # Images of a camera have the aspect ratio of its masks.
        times = -(-smallest // min(mask.shape))
        size = (mask.shape[0] * times, mask.shape[1] * times)
    shape = (*size, detector.channels)
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    smooth = np.broadcast_to(np.linspace(40.0, 200.0, shape[1])[None, :, None], shape).astype(np.uint8)
    return [noise, smooth]


def _onnx_bytes(program: Program, platforms: Sequence[str]) -> bytes:
    check_size(program.nbytes, "export it as StableHLO")
    onnx = import_for_export("onnx")
    proto = to_onnx(program.function, program.inputs, program.outputs, opset=_OPSET)
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString())


def _stablehlo_bytes(program: Program, platforms: Sequence[str]) -> bytes:
    with without_folders():
        exported = export.export(jax.jit(program.function), platforms=tuple(platforms))(*program.inputs.values())
        return bytes(exported.serialize())


def _of_stablehlo() -> dict[str, Any]:
    window = "JAX reads it in versions up to six months newer than the one that wrote it; after that, export again"
    return {"readable_by": window, "versions": versions(("jax", "jaxlib"))}


_PROVENANCE: Mapping[str, Callable[[], dict[str, Any]]] = {
    "onnx": lambda: {"versions": versions(("jax", "onnx"))},
    "stablehlo": _of_stablehlo,
}

_WRITERS: Mapping[str, Callable[[Program, Sequence[str]], bytes]] = {
    "onnx": _onnx_bytes,
    "stablehlo": _stablehlo_bytes,
}
