"""The verdict on an image, over its heat map."""

import numpy as np
from jaxtyping import Float, Num
from matplotlib.figure import Figure

from jaxunreg.decomposition import LETTERS
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
) -> Figure:
    """`heat_map_overlay` of one image with what the detector says of it.

    Args:
      detector: it gives the scale, which all its images share.
      image: see `heat_map_overlay`.
      heat: of the image, from `AnomalyDetector.heat_maps` with `smooth`.
      verdict: of the image, from `AnomalyDetector.scores`.
      title: e.g. the file's name.

    Returns:
      The figure.
    """
    letter = LETTERS[detector.term]
    return heat_map_overlay(
        image,
        heat,
        scale=detector.heat_scale,
        title=title,
        verdict=f"{'anomalous' if verdict.is_anomalous else 'normal'}: {letter} = {verdict.score:,.1f} nats, threshold "
        f"{verdict.threshold:,.1f}, p = {verdict.p_value:.3g}",
        is_anomalous=verdict.is_anomalous,
        label=f"{letter}, nats a pixel",
        note=f"{scale_note(detector)} Box: the most anomalous patch.",
        box=verdict.worst,
        mark=detector.pixel_levels[detector.term][1],
    )


@checked
def scale_note(detector: AnomalyDetector) -> str:
    """How the colours of a detector's heat maps are to be read, in two sentences."""
    smoothed = f", smoothed by {detector.smoothing:g} pixels" if detector.smoothing else ""
    return (
        f"One scale for all images{smoothed}. The mark in it: 1 in 1,000 pixels of held-out normal images is above it."
    )
