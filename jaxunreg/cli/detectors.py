"""The detector of `--model`, with the settings that the command line changes."""

import dataclasses
from pathlib import Path

from jaxunreg.datasets.folders.image_files import Color
from jaxunreg.inspection.detector import AnomalyDetector


def load_detector(model: Path, false_positive_rate: float | None, top_k: int | None) -> AnomalyDetector:
    """Load a detector, calibrated for another rate or `top_k` where they are given."""
    changes = {"false_positive_rate": false_positive_rate, "top_k": top_k}
    detector = AnomalyDetector.load(model)
    return dataclasses.replace(detector, **{k: v for k, v in changes.items() if v is not None})  # type: ignore[arg-type]


def color_of(detector: AnomalyDetector) -> Color:
    """The colour that images are converted to for a detector."""
    return "gray" if detector.channels == 1 else "rgb"
