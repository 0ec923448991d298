"""A new threshold from more good parts, without training."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxunreg.datasets.folders.image_files import ImageFiles
from jaxunreg.errors import ArgumentError
from jaxunreg.inspection.checks import check_rate
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.held_out import HeldOutScores, pixel_levels
from jaxunreg.inspection.measuring import measure
from jaxunreg.inspection.normal_images import check_sizes, normal_images
from jaxunreg.inspection.recalibration import Recalibration, compared
from jaxunreg.inspection.selection import joined, one_of_each
from jaxunreg.inspection.unseen import check_unseen
from jaxunreg.provenance import versions
from jaxunreg.scoring.aggregation import mean_of_highest
from jaxunreg.serialization import to_json


class Recalibrated(NamedTuple):
    """A detector that was calibrated again.

    Attributes:
      detector: the detector with the new threshold.
      comparison: how the new parts compare with the earlier ones.
    """

    detector: AnomalyDetector
    comparison: Recalibration


def recalibrate_detector(
    detector: AnomalyDetector,
    images: ImageFiles | Sequence[np.ndarray],
    *,
    rate: float | None = None,
    review_rate: float | None = None,
    only_new: bool = False,
    progress: bool = True,
) -> Recalibrated:
    """Return a detector with a threshold from more good parts. Its learned arrays do not change.

    The scores of the new parts join those of the held-out ones, with one image of each part. The threshold promises its
    rate if all of them and the future parts are exchangeable: give good parts as they come, not parts that the detector
    selected. `Recalibration.warnings` says if they do not look exchangeable.

    Args:
      detector: the old detector, which is not changed.
      images: good parts that the detector has not seen, including false alarms.
      rate: wanted share of normal images above the threshold; default: unchanged.
      review_rate: see `AnomalyDetector`; default: unchanged.
      only_new: whether to drop the old held-out images, e.g. after a change of the line.
      progress: whether to show a progress bar.

    Returns:
      The detector, and how the new parts compare with the earlier ones.

    Raises:
      ArgumentError: there is no image; the detector has seen images; they have other channels, are too small, or too
        few for the rate.
      TypeError, ValueError: the errors of `score_image`.
    """
    normal = normal_images(images)
    if normal.channels != detector.channels:
        raise ArgumentError(
            f"images of {normal.channels} channel{'s'[: normal.channels - 1]}",
            f"{detector.channels}, as the detector has",
            "convert them",
            field="images",
        )
    check_sizes(normal, detector.smallest_image)
    if isinstance(images, ImageFiles):
        check_unseen(detector, images)
    rate = detector.false_positive_rate if rate is None else rate
    groups = joined(normal.groups, normal.hashes)
    chosen = one_of_each(groups, normal.names, np.ones(len(normal), bool), 0)
    total = len(chosen) + (0 if only_new else detector.calibration.count)
    check_rate(total, rate, "rate")
    found = measure(
        detector.scorer,
        normal.select(chosen),
        stride=detector.stride,
        kept=_width(detector.held_out),
        ignored=detector.ignored,
        named={region.name: (region.mask, _width(region.held_out)) for region in detector.named_regions},
        progress=progress,
    )
    after = dataclasses.replace(
        detector,
        false_positive_rate=rate,
        review_rate=detector.review_rate if review_rate is None else review_rate,
        held_out=_joined(detector.held_out, found.held_out, only_new),
        # For a detector of an earlier version, only those of the new images are known.
        pixel_peaks=_joined(detector.pixel_peaks or {}, found.pixel_peaks, only_new or detector.pixel_peaks is None),
        pixel_levels=(
            {term: pixel_levels(values) for term, values in found.pixels.items()} if only_new else detector.pixel_levels
        ),
        named_regions=tuple(
            dataclasses.replace(region, held_out=_joined(region.held_out, found.named[region.name], only_new))
            for region in detector.named_regions
        ),
    )
    scores = np.asarray(mean_of_highest(np.asarray(found.held_out[detector.term]), detector.top_k))
    comparison = compared(
        detector.calibration, detector.false_positive_rate, scores, after.threshold, only_new=only_new
    )
    record = {
        **detector.record,
        "calibrated_on": total,
        "files": [*detector.record.get("files", ()), *normal.remembered],
        "recalibrations": [
            *detector.record.get("recalibrations", ()),
            {
                **to_json(comparison._asdict()),
                "images": len(normal),
                "fingerprint": normal.fingerprint,
                "false_positive_rate": rate,
                "versions": versions(),
            },
        ],
    }
    return Recalibrated(dataclasses.replace(after, record=record), comparison)


def _width(held_out: HeldOutScores) -> int:
    return max(np.shape(rows)[1] for rows in held_out.values())


def _joined(
    before: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray], only_new: bool
) -> Mapping[str, np.ndarray]:
    return new if only_new else {term: np.concatenate([before[term], rows]) for term, rows in new.items()}
