"""The scores of a trial's images by one model of pixels in one setting."""

import itertools
import time
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np

from jaxunreg.datasets.folders import ImageFiles
from jaxunreg.metrics.ranking import roc_auc
from jaxunreg.progress import with_bar
from jaxunreg.scoring.aggregation import highest_scores, mean_of_highest

from .config import KEPT, ManufacturingRun
from .fitting import fit
from .measuring import Paced, alone, measures_memory
from .models import Candidate
from .splits import Split


class CandidateScores(NamedTuple):
    """Scores of one candidate by name: for each image its highest patch scores, descending, `[images, KEPT]`.

    If an image has fewer patches, NaN follows.
    """

    calibration: dict[str, np.ndarray]
    validation: dict[str, np.ndarray]
    test: dict[str, np.ndarray]


Scores: TypeAlias = Mapping[Candidate, CandidateScores]


def score_candidate(run: ManufacturingRun, split: Split, candidate: Candidate) -> CandidateScores:
    """Train a candidate and score all images with it, or read the scores back."""
    config = run.config

    def compute() -> dict[str, np.ndarray]:
        began = time.perf_counter()
        # The next line reads back a network that was trained in a separate process.
        cost = alone(fit, run, split, candidate) if measures_memory(config, candidate.trial) else None
        fitted = fit(run, split, candidate)
        seconds = time.perf_counter() - began if cost is None else cost.seconds
        paced = Paced(itertools.chain(split.calibration, split.others))
        count = len(split.calibration) + len(split.others)
        highest: dict[str, list[np.ndarray]] = {}
        nats: list[float] = []
        maps = fitted.score_maps(paced, stride=config.stride)
        for k, scores in enumerate(with_bar(maps, count, f"scoring {candidate.name}", visible=config.progress)):
            for name, values in scores.items():
                highest.setdefault(name, []).append(highest_scores(values, KEPT))
            if k < len(split.calibration) and candidate.model == "vae":
                nats.append(float(scores["nelbo"].mean()) / (config.patch**2 * split.train.channels))
        run.notes[candidate.name] = {
            "fit_seconds": seconds,
            "peak_mb": None if cost is None else cost.peak_mb,
            "milliseconds": paced.milliseconds,
            "held_out_nats": float(np.mean(nats)) if nats else None,
        }
        return {name: np.stack(rows) for name, rows in highest.items()}

    arrays = run.stage(candidate.name, compute)
    count, chosen_on = len(split.calibration), split.is_validation
    return CandidateScores(
        {name: rows[:count] for name, rows in arrays.items()},
        {name: rows[count:][chosen_on] for name, rows in arrays.items()},
        {name: rows[count:][~chosen_on] for name, rows in arrays.items()},
    )


def auc(images: ImageFiles, top: np.ndarray, top_k: int) -> float:
    """Return the ROC AUC of one score."""
    scores, anomalous = mean_of_highest(top, top_k), images.is_anomalous
    return roc_auc(scores[~anomalous], scores[anomalous], bootstrap=1).value
