"""Exported StableHLO on the device of this process: the scores of its files beside those of the package."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxunreg as ju
from benchmarks import side
from benchmarks.side import Network
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.generated_parts import write_parts
from jaxunreg.export import check_export, export_detector, export_scorer
from jaxunreg.inspection import calibrate_detector

_TOLERANCE = 1e-3


def scorer(network: Network) -> dict[str, Any]:
    """Export a scorer for CPUs, CUDA and TPUs, read it again, and compare its scores here.

    Returns:
      The platforms, the bytes of the file, and the largest difference of a term, as a share of it.

    Raises:
      AssertionError: a term differs by more than a thousandth.
    """
    made, images = ju.make_scorer(side.model(network), side.trained(network)), side.images(network)[:64]
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "scorer.jaxexport")
        export_scorer(made, path, dtype="uint8")
        program = jax.export.deserialize(bytearray(path.read_bytes()))
        nbytes = path.stat().st_size
    found, expected = np.stack(program.call(images)), np.stack(ju.score_images(made, images))
    np.testing.assert_allclose(found, expected, rtol=_TOLERANCE)
    difference = float(np.max(np.abs(found - expected) / np.abs(expected)))
    return {"network": network, "platforms": program.platforms, "bytes": nbytes, "difference": difference}


def pixel_detector(network: Network) -> tuple[ju.AnomalyDetector, list[np.ndarray]]:
    """Return a detector of pixels, and images for it."""
    images = list(side.images(network)[:40])
    made = ju.make_scorer(side.model(network), side.trained(network))
    return calibrate_detector(made, images[:20], stride=made.smallest_image // 2, false_positive_rate=0.1), images[20:]


def feature_detector(size: int = 256, train: int = 80) -> tuple[ju.AnomalyDetector, list[np.ndarray]]:
    """Return a detector of features with the default settings, and images of generated parts for it."""
    with tempfile.TemporaryDirectory() as name:
        parts = write_parts(Path(name, "parts"), train=train, test=10, image_size=(size, size))
        folder = load_folder(parts, progress=False)
        detector = ju.fit_detector(folder.train, ju.DetectorConfig(), progress=False)
        return detector, list(folder.test)


def detector(made: ju.AnomalyDetector, images: Sequence[np.ndarray]) -> dict[str, Any]:
    """Export a detector as StableHLO for CPUs, CUDA and TPUs, and compare its verdicts here, image by image.

    Returns:
      The space, and the fields of `ExportCheck`.

    Raises:
      ExportMismatchError: a score or a verdict differs.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = export_detector(made, Path(name, "exported"), format="stablehlo")
        return {"space": made.scorer.space, **check_export(folder, made, images)._asdict()}
