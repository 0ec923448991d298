"""The evaluation of a detector on labelled images."""

import contextlib
import tempfile
from typing import get_args

import numpy as np

from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.datasets.folders.image_files import ImageFiles
from jaxunreg.decomposition import TERMS, Term
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.evaluation import Evaluation
from jaxunreg.inspection.stored_heat_maps import StoredHeatMaps
from jaxunreg.inspection.unseen import check_unseen
from jaxunreg.inspection.verdict import Box
from jaxunreg.metrics.png_size import bytes_a_pixel
from jaxunreg.progress import with_bar


def evaluate_detector(
    detector: AnomalyDetector,
    images: ImageFiles,
    *,
    heat_map_stride: int | None = None,
    bootstrap: int = 1000,
    progress: bool = True,
) -> Evaluation:
    """Score labelled images and measure how well scores, verdicts and heat maps fit their labels and masks.

    Pixels that the detector ignores have no heat: a defect there counts as missed. Each image is read once. If the heat
    maps have the detector's stride, it also passes through the network once. Images of a defect without a mask count
    for images but not for pixels. Heat maps are kept in a temporary file.

    Args:
      detector: see `fit_detector`.
      images: normal images and defects that the detector has not seen. `unseen_images` chooses them.
      heat_map_stride: pixels from one patch to the next in the heat maps; default: the detector's.
      bootstrap: number of resamples for the intervals.
      progress: whether to show progress bars.

    Returns:
      The scores, and everything that is computed from them.

    Raises:
      ArgumentError: the detector was trained or calibrated on some images (`AnomalyDetector.has_seen` says which), a
        label is unknown, normal images or defects are missing, or a stride or a number of resamples is out of its
        range.
    """
    anomalous = images.is_anomalous
    if not anomalous.any() or anomalous.all():
        raise ArgumentError(
            f"{int((~anomalous).sum())} normal and {int(anomalous.sum())} defective images to evaluate on",
            "both",
            "give a folder with a test split that has normal images and defects",
            field="images",
        )
    stride = detector.stride if heat_map_stride is None else heat_map_stride
    detector.scorer.check_stride("heat_map_stride", stride)
    if bootstrap < 1:
        raise ArgumentError(argument("bootstrap", bootstrap), "at least 1", f"raise {argument('bootstrap')}")
    check_unseen(detector, images)

    # Heat maps are compared with masks, so an image without a known mask needs none.
    known = np.array([file.label == GOOD or file.mask is not None for file in images.files])
    if not known[anomalous].any():
        known[:] = False
    mapped, others = np.flatnonzero(known).tolist(), np.flatnonzero(~known).tolist()
    scores = {term: np.empty(len(images)) for term in get_args(Term)}
    complexities = np.empty(len(images))
    worst: dict[int, Box] = {}
    by_region = np.zeros(len(images), bool)
    with contextlib.ExitStack() as stack:
        stored = None
        if mapped:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            stored = StoredHeatMaps(folder, images.sizes[mapped], TERMS)
        for indices, pixels in ((mapped, True), (others, False)):
            found = detector.inspect(
                (images[k] for k in indices), pixels=pixels, heat_map_stride=stride if pixels else None
            )
            description = "scoring, with heat maps" if pixels else "scoring"
            for place, one in enumerate(with_bar(found, len(indices), description, visible=progress and bool(indices))):
                k = indices[place]
                worst[k] = one.verdict.worst
                by_region[k] = any(region.is_anomalous for region in one.verdict.named)
                complexities[k] = bytes_a_pixel(one.image)
                for term, values in scores.items():
                    values[k] = detector.image_score(getattr(one.verdict.maps, term), one.verdict.counted)
                if stored is not None and one.pixels is not None:
                    stored.store(place, {term: _told(getattr(one.pixels, term), one.counted) for term in TERMS})
        # The mask of a normal image is empty, and need not be kept.
        masks = [None if images.files[k].label == GOOD else images.mask(k) for k in mapped]
        metrics = {} if stored is None else stored.metrics(masks)
    return Evaluation(
        detector=detector,
        images=images,
        scores=scores,
        worst=[worst[k] for k in range(len(images))],
        pixels=metrics,
        complexities=complexities,
        heat_map_stride=stride,
        bootstrap=bootstrap,
        by_region=by_region if detector.named_regions else None,
    )


def _told(heat: np.ndarray, counted: np.ndarray | None) -> np.ndarray:
    """Return a heat map that is lowest at pixels that do not count."""
    return np.asarray(heat) if counted is None else np.where(counted, heat, np.min(heat))
