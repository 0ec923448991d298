"""How good a detector is on labelled images: its results, and everything that follows."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.datasets.folders.image_files import ImageFiles
from jaxunreg.decomposition import TERMS
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.verdict import Box
from jaxunreg.metrics.explained import explained_by_complexity
from jaxunreg.metrics.ranking import average_precision, roc_auc
from jaxunreg.serialization import to_json

# A rank correlation of fewer images says nothing.
_FEWEST_FOR_COMPLEXITY = 5


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The results of a detector for labelled images. `evaluate_detector` makes it.

    Attributes:
      detector: the detector.
      images: the images.
      scores: score of each image under each term, float64 `[n]`.
      worst: the most anomalous patch of each image.
      pixels: for each term its `roc_auc` and `aupro`; empty if no defect has a mask.
      complexities: the bytes a pixel of each image's PNG, float64 `[n]`.
      heat_map_stride: stride of the heat maps behind the pixel metrics.
      bootstrap: number of resamples for the intervals.
      by_region: whether a named region of each image is anomalous; None for a detector without named regions.
    """

    detector: AnomalyDetector
    images: ImageFiles
    scores: Mapping[str, Float64[np.ndarray, " n"]]
    worst: Sequence[Box]
    pixels: Mapping[str, Mapping[str, float]]
    complexities: Float64[np.ndarray, " n"]
    heat_map_stride: int
    bootstrap: int = 1000
    by_region: Bool[np.ndarray, " n"] | None = None

    @functools.cached_property
    def is_flagged(self) -> Bool[np.ndarray, " n"]:
        """Whether the detector calls each image anomalous, as a whole or by one of its named regions."""
        detector = self.detector
        as_a_whole = detector.calibration.is_anomalous(self.scores[detector.term], detector.false_positive_rate)
        return as_a_whole if self.by_region is None else as_a_whole | self.by_region

    @functools.cached_property
    def results(self) -> dict[str, Any]:
        """Return all figures as JSON data."""
        anomalous = self.images.is_anomalous
        return to_json(
            {
                "images": {"normal": int((~anomalous).sum()), "anomalous": int(anomalous.sum())},
                "image": {term: self._ranking(term, anomalous) for term in TERMS},
                "pixel": {"stride": self.heat_map_stride, **self.pixels} if self.pixels else None,
                "verdicts": self._verdicts(anomalous),
                "defects": self._defects(anomalous),
                "complexity": self._complexity(~anomalous),
            }
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """Return for each image its path, label, scores, p-value, verdict and worst patch."""
        p_values = self.detector.calibration.p_values(self.scores[self.detector.term])
        for k, file in enumerate(self.images.files):
            yield {
                "path": str(file.path),
                "label": file.label,
                **{term: float(self.scores[term][k]) for term in TERMS},
                "p_value": float(p_values[k]),
                "verdict": "anomalous" if self.is_flagged[k] else "normal",
                **self.worst[k]._asdict(),
            }

    def examples(self) -> list[int]:
        """Return images to show: the one of each kind with the median score, and the normal one with the highest.

        They are neither the best nor the worst results of the detector.
        """
        scores = self.scores[self.detector.term]
        labels = np.array(self.images.labels)
        chosen: list[int] = []
        for kind in [*sorted(set(labels.tolist()) - {GOOD}), GOOD]:
            members = np.flatnonzero(labels == kind)
            ordered = members[np.argsort(scores[members], kind="stable")]
            chosen.append(int(ordered[len(ordered) // 2]))
        highest = int(ordered[-1])
        return chosen if highest in chosen else [*chosen, highest]

    def describe(self) -> dict[str, Any]:
        """Describe what was evaluated, as JSON data."""
        detector = self.detector
        settings = ("stride", "term", "top_k", "false_positive_rate")
        return to_json(
            {
                "detector": {
                    "space": detector.scorer.space,
                    **{name: getattr(detector, name) for name in settings},
                    "review_rate": detector.review_rate,
                    "ignored": None if detector.ignored is None else float(detector.ignored.mean()),
                    "named_regions": {region.name: region.false_positive_rate for region in detector.named_regions},
                },
                "made_of": {name: value for name, value in detector.record.items() if name != "files"},
                "model": detector.scorer.describe(),
                "fingerprint": self.images.fingerprint,
            }
        )

    def _ranking(self, term: str, anomalous: np.ndarray) -> dict[str, Any]:
        pair = self.scores[term][~anomalous], self.scores[term][anomalous]
        return {
            "roc_auc": roc_auc(*pair, bootstrap=self.bootstrap)._asdict(),
            "average_precision": average_precision(*pair, bootstrap=self.bootstrap)._asdict(),
        }

    def _verdicts(self, anomalous: np.ndarray) -> dict[str, Any]:
        detector = self.detector
        expected = detector.calibration.realised_rate(detector.false_positive_rate)
        return {
            "term": detector.term,
            "top_k": detector.top_k,
            "false_positive_rate_wanted": detector.false_positive_rate,
            "threshold": detector.threshold,
            "held_out_images": detector.calibration.count,
            "false_positive_rate_expected": expected._asdict(),
            "joint_rate": detector.joint_rate()._asdict() if detector.named_regions else None,
            "review": self._review(anomalous),
            "false_positive_rate": float(self.is_flagged[~anomalous].mean()),
            "true_positive_rate": float(self.is_flagged[anomalous].mean()),
        }

    def _review(self, anomalous: np.ndarray) -> dict[str, float] | None:
        """Return the shares of images that are neither passed nor rejected."""
        detector = self.detector
        if detector.review_rate is None or detector.review_threshold is None:
            return None
        reviewed = (self.scores[detector.term] > detector.review_threshold) & ~self.is_flagged
        return {
            "rate_wanted": detector.review_rate,
            "threshold": detector.review_threshold,
            "normal": float(reviewed[~anomalous].mean()),
            "anomalous": float(reviewed[anomalous].mean()),
        }

    def _defects(self, anomalous: np.ndarray) -> dict[str, Any]:
        labels = np.array(self.images.labels)
        found = {}
        for kind in sorted(set(labels[anomalous].tolist())):
            members = labels == kind
            found[kind] = {
                "images": int(members.sum()),
                "found": int(self.is_flagged[members].sum()),
                "roc_auc": {
                    term: roc_auc(self.scores[term][~anomalous], self.scores[term][members], bootstrap=1).value
                    for term in TERMS
                },
            }
        return found

    def _complexity(self, normal: np.ndarray) -> dict[str, Any] | None:
        if normal.sum() < _FEWEST_FOR_COMPLEXITY:
            return None
        return {
            term: explained_by_complexity(
                self.scores[term][normal], self.complexities[normal], bootstrap=self.bootstrap
            ).rho._asdict()
            for term in TERMS
        }
