"""The verdict on an image, over its heat map."""

import numpy as np
from jaxtyping import Bool, Float, Num
from matplotlib.figure import Figure

from jaxunreg.decomposition import LETTERS
from jaxunreg.inspection.counting import mask_at
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.verdict import ImageVerdict
from jaxunreg.plots.overlay import heat_map_overlay
from jaxunreg.signatures import checked


@checked
def verdict_overlay(
    detector: AnomalyDetector,
    image: Num[np.ndarray, "height width channels"],
    heat: Float[np.ndarray, "height width"],
    verdict: ImageVerdict,
    *,
    title: str,
    counted: Bool[np.ndarray, "height width"] | None = None,
) -> Figure:
    """Draw `heat_map_overlay` of one image with the detector's verdict.

    Args:
      detector: the detector, whose scale all its images share.
      image: see `heat_map_overlay`.
      heat: heat map of the image, from `AnomalyDetector.heat_maps` with `smooth`.
      verdict: verdict on the image, from `AnomalyDetector.scores`.
      title: e.g. the file's name.
      counted: the pixels that count, `InspectedImage.counted`.

    Returns:
      The figure.
    """
    letter, size = LETTERS[detector.term], (image.shape[0], image.shape[1])
    odd = [region.name for region in verdict.named if region.is_anomalous]
    where = f", odd: {', '.join(odd)}" if odd else ""
    return heat_map_overlay(
        image,
        heat,
        scale=detector.heat_scale,
        title=title,
        verdict=f"{verdict.outcome}{where}: {letter} = {verdict.score:,.1f} nats, threshold {verdict.threshold:,.1f}, "
        f"p = {verdict.p_value:.3g}",
        is_anomalous=verdict.is_anomalous,
        label=f"{letter}, nats a pixel",
        note=f"{scale_note(detector)} Box: the most anomalous patch.",
        box=verdict.worst,
        mark=detector.pixel_levels[detector.term][1],
        counted=counted,
        regions=[mask_at(region.mask, size) for region in detector.named_regions],
    )


@checked
def scale_note(detector: AnomalyDetector) -> str:
    """Explain the colours of a detector's heat maps, in two sentences or more."""
    smoothed = f", smoothed by {detector.smoothing:g} pixels" if detector.smoothing else ""
    pale = "" if detector.ignored is None else " Pale: what is ignored."
    dotted = (
        f" Dotted: {', '.join(region.name for region in detector.named_regions)}." if detector.named_regions else ""
    )
    return (
        f"One scale for all images{smoothed}. The mark in it: 1 in 1,000 pixels of held-out normal images is above it."
        f"{pale}{dotted}"
    )
