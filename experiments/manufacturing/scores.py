"""The scores of a trial's validation and test images by one model in one setting."""

import itertools
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np

from experiments.manufacturing.config import KEPT, ManufacturingRun
from experiments.manufacturing.fitting import fit
from experiments.manufacturing.models import Candidate
from experiments.manufacturing.splits import Split
from jaxunreg.datasets.folders import ImageFiles
from jaxunreg.metrics.ranking import roc_auc
from jaxunreg.progress import with_bar
from jaxunreg.scoring.aggregation import highest_scores, mean_of_highest


class CandidateScores(NamedTuple):
    """Scores of one candidate by name: for each image its highest patch scores, falling, `[images, KEPT]`.

    Where an image has fewer patches, NaN follows.
    """

    validation: dict[str, np.ndarray]
    test: dict[str, np.ndarray]


Scores: TypeAlias = Mapping[Candidate, CandidateScores]


def score_candidate(run: ManufacturingRun, split: Split, candidate: Candidate) -> CandidateScores:
    """Train a candidate and score all validation and test images with it; read back where that was done before."""
    config = run.config

    def compute() -> dict[str, np.ndarray]:
        fitted = fit(run, split, candidate)
        images = itertools.chain(split.validation, split.test)
        count = len(split.validation) + len(split.test)
        highest: dict[str, list[np.ndarray]] = {}
        maps = fitted.score_maps(images, stride=config.stride)
        for scores in with_bar(maps, count, f"scoring {candidate.name}", visible=config.progress):
            for name, values in scores.items():
                highest.setdefault(name, []).append(highest_scores(values, KEPT))
        return {name: np.stack(rows) for name, rows in highest.items()}

    arrays = run.stage(candidate.name, compute)
    count = len(split.validation)
    return CandidateScores({n: a[:count] for n, a in arrays.items()}, {n: a[count:] for n, a in arrays.items()})


def auc(images: ImageFiles, top: np.ndarray, top_k: int) -> float:
    """ROC AUC of one score."""
    scores, anomalous = mean_of_highest(top, top_k), images.is_anomalous
    return roc_auc(scores[~anomalous], scores[anomalous], bootstrap=1).value
