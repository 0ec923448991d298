"""What is kept of held-out normal images: scores of their places, and pixels of their heat maps."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, get_args

import numpy as np
from jaxtyping import Bool

from jaxunreg.decomposition import Term
from jaxunreg.inspection.counting import Counting
from jaxunreg.inspection.held_out import HeldOutScores, PixelPeaks, kept_scores, some_pixels
from jaxunreg.inspection.painting import painted
from jaxunreg.inspection.smoothing import smoothed
from jaxunreg.progress import with_bar
from jaxunreg.scoring.map_scorer import MapScorer


class Measured(NamedTuple):
    """What is kept of normal images.

    Attributes:
      held_out: see `CalibratedScorer`.
      pixels: for each term some pixels of the smoothed heat maps, of all images together.
      pixel_peaks: see `CalibratedScorer`.
      named: `NamedRegion.held_out` of each named region.
    """

    held_out: HeldOutScores
    pixels: Mapping[str, np.ndarray]
    pixel_peaks: PixelPeaks
    named: Mapping[str, HeldOutScores]


def measure(
    scorer: MapScorer,
    images: Sequence[np.ndarray],
    *,
    stride: int,
    kept: int,
    ignored: Bool[np.ndarray, "height width"] | None,
    named: Mapping[str, tuple[np.ndarray, int]],
    progress: bool,
) -> Measured:
    """Score normal images. Each is read once and passes through the network once.

    Args:
      scorer: see `calibrate_detector`.
      images: normal images that the model was not trained on.
      stride: pixels from one patch to the next.
      kept: number of patch scores to keep of each image.
      ignored: pixels that do not count, or None.
      named: for each named region its mask, and the number of scores to keep.
      progress: whether to show a progress bar.

    Raises:
      ArgumentError: a score is NaN, a mask does not fit the images, or the errors of `score_image`.
    """
    terms = get_args(Term)
    counting = Counting(ignored, {name: mask for name, (mask, _) in named.items()})
    rows: dict[str, list[np.ndarray]] = {term: [] for term in terms}
    pixels: dict[str, list[np.ndarray]] = {term: [] for term in terms}
    peaks: dict[str, list[float]] = {term: [] for term in terms}
    regions: dict[str, dict[str, list[np.ndarray]]] = {name: {term: [] for term in terms} for name in named}
    found = scorer.maps_each((painted(image, ignored) for image in images), stride=stride)
    for maps in with_bar(found, len(images), "calibrating", visible=progress):
        assert maps.pixels is not None  # for mypy: they were asked for
        height, width = np.shape(maps.pixels.m)
        counted = counting.of((height, width), maps.grid)
        for term in terms:
            patches, heat = (
                np.asarray(getattr(maps.patches, term)),
                smoothed(getattr(maps.pixels, term), scorer.smoothing),
            )
            if counted.pixels is not None:
                heat = heat[counted.pixels]
            rows[term].append(kept_scores(patches if ignored is None else patches[counted.places], kept))
            pixels[term].append(some_pixels(heat))
            peaks[term].append(float(heat.max()))
            for name, (_, count) in named.items():
                regions[name][term].append(kept_scores(patches[counted.named[name]], count))
    return Measured(
        held_out={term: np.stack(row) for term, row in rows.items()},
        pixels={term: np.concatenate(part) for term, part in pixels.items()},
        pixel_peaks={term: np.array(values) for term, values in peaks.items()},
        named={name: {term: np.stack(row) for term, row in of.items()} for name, of in regions.items()},
    )
