"""A comparison of an exported detector with the detector on images."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxunreg.errors import CheckpointError, JaxunregError
from jaxunreg.export import jaxunreg_runner as runner
from jaxunreg.export.export_description import SETTINGS, describe
from jaxunreg.export.onnx_graph import import_for_export
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.verdict import ImageVerdict
from jaxunreg.paths import given_path
from jaxunreg.progress import with_bar
from jaxunreg.signatures import checked

RUNNER_FILE = "jaxunreg_runner.py"
"""The runner's copy in an exported folder."""

_TIMED = 20

_EXPECTED = ("an export of this detector by this version", "export it again, with the same settings")

TOLERANCE = 1e-4
"""The largest allowed difference of a score, as a share of it."""


class ExportMismatchError(JaxunregError, RuntimeError):
    """An exported detector and the detector differ on an image."""


class ExportCheck(NamedTuple):
    """How an exported detector compares with the detector.

    Attributes:
      images: number of compared images.
      anomalous: number of anomalous images.
      score_difference: the largest difference between two scores, as a share of the score.
      heat_map_difference: the largest difference between two heat maps, as a share of the largest value.
      other_boxes: number of images on which the most anomalous places differ.
      milliseconds: median time of the runner for an image, without its heat map, over at most 20 images.
    """

    images: int
    anomalous: int
    score_difference: float
    heat_map_difference: float
    other_boxes: int
    milliseconds: float


@checked
def check_export(
    directory: str | os.PathLike[str],
    detector: AnomalyDetector,
    images: Sequence[np.ndarray],
    *,
    threads: int | None = None,
    progress: bool = False,
) -> ExportCheck:
    """Compare an exported detector with the detector, image by image.

    Args:
      directory: the folder from `export_detector`.
      detector: the exported detector.
      images: as for `AnomalyDetector.inspect`.
      threads: threads of the runner.
      progress: whether to show a progress bar.

    Returns:
      How far they differ.

    Raises:
      MissingPackageError: onnxruntime is not installed, and the folder needs it.
      CheckpointError: the folder holds no export of this version, or an export of another detector.
      ExportMismatchError: a score differs by more than 1e-4 of it, or a verdict differs.
    """
    exported = load_exported(given_path("directory", directory), detector, threads=threads)
    scores, heats, seconds = [0.0], [0.0], []
    count = other_boxes = anomalous = 0
    inspected = detector.inspect(images, pixels=True)
    for found in with_bar(inspected, len(images), "verifying", visible=progress):
        image, want = np.asarray(found.image), found.verdict
        if count < _TIMED:
            began = time.perf_counter()
            exported(image)
            seconds.append(1e3 * (time.perf_counter() - began))
        got = exported(image, heat_map=True)
        _check_verdict(count, got, want)
        assert found.pixels is not None  # for mypy: they were asked for
        heat = detector.heat_map(found.pixels)
        scores.append(_apart(got.score, want.score))
        heats.append(float(np.abs(got.heat_map - heat).max() / np.abs(heat).max()))
        count += 1
        other_boxes += tuple(got.box) != tuple(want.worst)
        anomalous += want.is_anomalous
    return ExportCheck(count, anomalous, max(scores), max(heats), other_boxes, float(np.median(seconds or [np.nan])))


def settings_of(folder: Path) -> dict[str, Any]:
    """Return the settings with which a detector was exported: fields of `AnomalyDetector`.

    Args:
      folder: the folder from `export_detector`.

    Raises:
      CheckpointError: the folder holds no export of this version.
    """
    about = _described(folder)
    return {name: about[name] for name in SETTINGS}


def _described(folder: Path) -> dict[str, Any]:
    try:
        return runner.read_description(folder)
    except runner.RunnerError as error:
        raise CheckpointError(f"{folder}, of which the runner says: {error}", *_EXPECTED) from error


def load_exported(folder: Path, detector: AnomalyDetector, *, threads: int | None = None) -> runner.Detector:
    """Load the runner of an exported folder, and check that it is the runner of a detector.

    Raises:
      CheckpointError: the errors of `check_export`.
    """
    about = _described(folder)
    if about["program_format"] == "onnx":
        import_for_export("onnxruntime")
    exported = runner.Detector(folder, threads=threads)
    copy, own = (path.read_bytes() for path in (folder / RUNNER_FILE, Path(runner.__file__)))
    if copy != own:
        raise CheckpointError(f"{folder} with another {RUNNER_FILE} than this version's", *_EXPECTED)
    if any(about.get(name) != value for name, value in describe(detector).items()):
        raise CheckpointError(f"{folder}, exported from another detector or with other settings", *_EXPECTED)
    return exported


def _check_verdict(number: int, got: runner.Verdict, want: ImageVerdict) -> None:
    scores = [(got.score, want.score), *((a.score, b.score) for a, b in zip(got.named, want.named, strict=True))]
    for ours, theirs in scores:
        if _apart(ours, theirs) > TOLERANCE:
            raise ExportMismatchError(
                f"a score of {ours} from the exported detector for image {number}, "
                f"{_apart(ours, theirs):.1e} of it apart from {theirs}",
                f"at most {TOLERANCE:g}",
                "do not use that export; try another version of the runtime",
            )
    if got.outcome != want.outcome:
        raise ExportMismatchError(
            f"the verdict {got.outcome} of the exported detector for image {number}, with the score {got.score} where "
            f"the detector has {want.score}",
            f"{want.outcome}, as the detector says",
            "leave that image out if the detector was calibrated on it, since then its score can be the threshold",
        )


def _apart(got: float, want: float) -> float:
    return abs(got - want) / max(abs(want), float(np.finfo(np.float32).tiny))
