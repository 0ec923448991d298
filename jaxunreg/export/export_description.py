"""The description of a detector in its exported folder: thresholds, held-out scores, masks and checksums."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.export import jaxunreg_runner as runner
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.serialization import file_hashes, with_checksum

# The fields that an export carries or does not need. A detector with more fields is refused.
_CARRIED = frozenset(
    (
        *("scorer", "stride", "term", "top_k", "false_positive_rate", "review_rate", "ignored", "named_regions"),
        *("held_out", "bits", "arithmetic", "pixel_levels", "pixel_peaks", "record"),
    )
)

SETTINGS = ("term", "top_k", "false_positive_rate", "review_rate")
"""The fields of a detector that can change without training. They are written unchanged."""


def describe(detector: AnomalyDetector) -> dict[str, Any]:
    """Return the basis of a detector's verdicts, as JSON data."""
    return {
        "format": runner.FORMAT,
        "space": detector.scorer.space,
        "summary": detector.summary(),
        "channels": detector.channels,
        "smallest_image": detector.smallest_image,
        "bits": detector.bits,
        "unit": detector.scorer.unit,
        **{name: getattr(detector, name) for name in SETTINGS},
        "threshold": detector.threshold,
        "review_threshold": detector.review_threshold,
        "held_out": detector.calibration.scores.tolist(),
    }


def save_masks(folder: Path, detector: AnomalyDetector) -> dict[str, Any]:
    """Write the masks of a detector as gray images, white where they mark a pixel.

    Returns:
      The description of the ignored area and of the named regions, JSON data.
    """
    regions = []
    for number, region in enumerate(detector.named_regions, start=1):
        calibration = region.calibration(detector.term, detector.scorer.unit)
        regions.append(
            {
                "name": region.name,
                "mask": _save_mask(folder / f"region_{number}.pgm", region.mask),
                "top_k": region.top_k,
                "threshold": calibration.threshold(region.false_positive_rate),
                "held_out": calibration.scores.tolist(),
            }
        )
    ignored = None if detector.ignored is None else _save_mask(folder / "ignored.pgm", detector.ignored)
    return {"ignored": ignored, "named_regions": regions}


def _save_mask(path: Path, mask: np.ndarray) -> str:
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(path)
    return path.name


def write_description(folder: Path, about: Mapping[str, Any]) -> None:
    """Write `exported.json`, with the checksums of all other files of a folder.

    Args:
      folder: an exported folder, with all other files in it.
      about: the other entries, JSON data.

    Raises:
      OSError: it cannot be written.
    """
    path = folder / runner.DESCRIPTION_FILE
    path.unlink(missing_ok=True)
    text = json.dumps(with_checksum({**about, "files": file_hashes(folder)}), allow_nan=False, indent=1)
    path.write_text(f"{text}\n", encoding="utf-8")


def check_carried(detector: AnomalyDetector) -> None:
    """Refuse a detector with something that an exported detector would lack.

    Raises:
      ArgumentError: the detector has such a field.
    """
    for field in dataclasses.fields(detector):
        if field.name in _CARRIED:
            continue
        value = getattr(detector, field.name)
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if value is not default and value != default:
            raise ArgumentError(
                f"a detector with {argument(field.name)}",
                "one without, since an exported detector does not carry it",
                f"export one that was made without {argument(field.name)}",
                field="detector",
            )
