"""How good a detector is on labelled images: its scores, its heat maps, its verdicts, and what they follow."""

import dataclasses
import functools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Float64

from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.datasets.folders.image_files import ImageFiles
from jaxunreg.decomposition import LETTERS, TERMS, Term
from jaxunreg.inspection.checks import check_stride
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.verdict import Box
from jaxunreg.metrics.pixels import per_region_overlap, pixel_roc_auc
from jaxunreg.metrics.png_complexity import bytes_a_pixel, explained_by_complexity
from jaxunreg.metrics.ranking import average_precision, roc_auc
from jaxunreg.progress import with_bar
from jaxunreg.scoring.each import heat_map_each
from jaxunreg.serialization import to_json

# Below this a rank correlation says nothing.
_FEWEST_FOR_COMPLEXITY = 5


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a detector made of labelled images; made by `evaluate_detector`.

    Attributes:
      detector: the detector.
      images: the images.
      scores: of each image under each term, float64 `[n]`.
      worst: the most anomalous patch of each image.
      pixels: for each term its `roc_auc` and `aupro`; empty where no defect has a mask.
      complexities: the bytes a pixel of each image's PNG, float64 `[n]`.
      heat_map_stride: of the pixel metrics.
      bootstrap: resamples of the intervals.
    """

    detector: AnomalyDetector
    images: ImageFiles
    scores: Mapping[str, Float64[np.ndarray, " n"]]
    worst: Sequence[Box]
    pixels: Mapping[str, Mapping[str, float]]
    complexities: Float64[np.ndarray, " n"]
    heat_map_stride: int
    bootstrap: int = 1000

    @functools.cached_property
    def is_flagged(self) -> np.ndarray:
        """Whether the detector calls each image anomalous, `[n]`."""
        detector = self.detector
        return detector.calibration.is_anomalous(self.scores[detector.term], detector.false_positive_rate)

    @functools.cached_property
    def results(self) -> dict[str, Any]:
        """All figures, JSON data."""
        anomalous = self.images.is_anomalous
        detector = self.detector
        image: dict[str, Any] = {}
        for term in TERMS:
            pair = self.scores[term][~anomalous], self.scores[term][anomalous]
            image[term] = {
                "roc_auc": roc_auc(*pair, bootstrap=self.bootstrap)._asdict(),
                "average_precision": average_precision(*pair, bootstrap=self.bootstrap)._asdict(),
            }
        labels = np.array(self.images.labels)
        kinds = sorted(set(labels[anomalous].tolist()))
        expected = detector.calibration.realised_rate(detector.false_positive_rate)
        return to_json(
            {
                "images": {"normal": int((~anomalous).sum()), "anomalous": int(anomalous.sum())},
                "image": image,
                "pixel": {"stride": self.heat_map_stride, **self.pixels} if self.pixels else None,
                "verdicts": {
                    "term": detector.term,
                    "top_k": detector.top_k,
                    "false_positive_rate_wanted": detector.false_positive_rate,
                    "threshold": detector.threshold,
                    "held_out_images": detector.calibration.count,
                    "false_positive_rate_expected": expected._asdict(),
                    "false_positive_rate": float(self.is_flagged[~anomalous].mean()),
                    "true_positive_rate": float(self.is_flagged[anomalous].mean()),
                },
                "defects": {
                    kind: {
                        "images": int((labels == kind).sum()),
                        "found": int(self.is_flagged[labels == kind].sum()),
                        "roc_auc": {
                            term: roc_auc(
                                self.scores[term][~anomalous], self.scores[term][labels == kind], bootstrap=1
                            ).value
                            for term in TERMS
                        },
                    }
                    for kind in kinds
                },
                "complexity": self._complexity(~anomalous),
            }
        )

    def _complexity(self, normal: np.ndarray) -> dict[str, Any] | None:
        if normal.sum() < _FEWEST_FOR_COMPLEXITY:
            return None
        return {
            term: explained_by_complexity(
                self.scores[term][normal], self.complexities[normal], bootstrap=self.bootstrap
            ).rho._asdict()
            for term in TERMS
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """For each image its path, label, scores, p-value, verdict and worst patch."""
        p_values = self.detector.calibration.p_values(self.scores[self.detector.term])
        for k, file in enumerate(self.images.files):
            yield {
                "path": str(file.path),
                "label": file.label,
                **{LETTERS[term]: float(self.scores[term][k]) for term in TERMS},
                "p_value": float(p_values[k]),
                "verdict": "anomalous" if self.is_flagged[k] else "normal",
                **self.worst[k]._asdict(),
            }


def evaluate_detector(
    detector: AnomalyDetector,
    images: ImageFiles,
    *,
    heat_map_stride: int | None = None,
    bootstrap: int = 1000,
    progress: bool = True,
) -> Evaluation:
    """Score labelled images and see how well the scores, verdicts and heat maps fit their labels and masks.

    Images of a defect without a mask count for images and not for pixels. Heat maps wait in a temporary file.

    Args:
      detector: see `fit_detector`.
      images: normal ones and defects that the detector has not seen, e.g. the test split of `load_folder`.
      heat_map_stride: pixels from one patch to the next in the heat maps; default: the detector's.
      bootstrap: resamples of the intervals.
      progress: show progress bars.

    Returns:
      The scores, and all that is computed from them.

    Raises:
      ValueError: images of unknown label, or without both normal images and defects; a stride or a number of resamples
        out of its range.
    """
    anomalous = images.is_anomalous
    if not anomalous.any() or anomalous.all():
        raise ValueError(
            f"got {int((~anomalous).sum())} normal and {int(anomalous.sum())} defective images to evaluate "
            "on; expected both; give a folder with a test split that has normal images and defects"
        )
    stride = detector.stride if heat_map_stride is None else heat_map_stride
    check_stride("heat_map_stride", stride, detector.patch)
    if bootstrap < 1:
        raise ValueError(f"got bootstrap={bootstrap}; expected at least 1")
    scores: dict[str, list[float]] = {term: [] for term in get_args(Term)}
    worst, complexities = [], []

    def noted() -> Iterator[np.ndarray]:
        for image in images:
            complexities.append(bytes_a_pixel(image))
            yield image

    for verdict in with_bar(detector.scores(noted()), len(images), "scoring", visible=progress):
        worst.append(verdict.worst)
        for term, values in scores.items():
            values.append(detector.image_score(getattr(verdict.maps, term)))
    return Evaluation(
        detector=detector,
        images=images,
        scores={term: np.array(values) for term, values in scores.items()},
        worst=worst,
        pixels=_pixel_metrics(detector, images, stride, progress),
        complexities=np.array(complexities),
        heat_map_stride=stride,
        bootstrap=bootstrap,
    )


def _pixel_metrics(
    detector: AnomalyDetector, images: ImageFiles, stride: int, progress: bool
) -> dict[str, dict[str, float]]:
    masked = images.masked()
    if not masked.is_anomalous.any():
        return {}
    # A normal image's mask is empty, and need not be kept.
    masks = [None if file.label == GOOD else masked.mask(k) for k, file in enumerate(masked.files)]
    ends = np.cumsum(masked.sizes.prod(axis=1))
    places = list(zip((ends - masked.sizes.prod(axis=1)).tolist(), ends.tolist(), masked.sizes.tolist(), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        kept = {
            term: np.memmap(Path(folder, term), dtype=np.float32, mode="w+", shape=(int(ends[-1]),)) for term in TERMS
        }
        maps = heat_map_each(detector.scorer, iter(masked), stride=stride)
        for k, found in enumerate(with_bar(maps, len(masked), "heat maps", visible=progress)):
            start, stop, _ = places[k]
            for term, values in kept.items():
                values[start:stop] = getattr(found, term).ravel()
        results: dict[str, dict[str, float]] = {}
        for term, values in kept.items():
            heats = [values[start:stop].reshape(size) for start, stop, size in places]
            results[term] = {"roc_auc": pixel_roc_auc(heats, masks), "aupro": per_region_overlap(heats, masks)}
        kept.clear()
    return results


def examples(evaluation: Evaluation) -> list[int]:
    """Images to show: of each kind of defect the one with the median score, and of the normal ones also the highest.

    Neither the best nor the worst that the detector does.
    """
    scores = evaluation.scores[evaluation.detector.term]
    labels = np.array(evaluation.images.labels)
    chosen: list[int] = []
    for kind in [*sorted(set(labels.tolist()) - {GOOD}), GOOD]:
        members = np.flatnonzero(labels == kind)
        ordered = members[np.argsort(scores[members], kind="stable")]
        chosen.append(int(ordered[len(ordered) // 2]))
    highest = int(ordered[-1])
    return chosen if highest in chosen else [*chosen, highest]


def describe(evaluation: Evaluation) -> dict[str, Any]:
    """What `evaluation.json` says beside the figures: what was evaluated."""
    detector = evaluation.detector
    return to_json(
        {
            "detector": {
                name: getattr(detector, name) for name in ("patch", "stride", "term", "top_k", "false_positive_rate")
            },
            "made_of": {name: value for name, value in detector.record.items() if name != "files"},
            "model": dataclasses.asdict(detector.scorer.model.config),
            "fingerprint": evaluation.images.fingerprint,
        }
    )
