"""Scores of digits with and without a square, and their arrays for a stage's file."""

from collections.abc import Mapping

import numpy as np

import jaxunreg as ju
from jaxunreg.decomposition import TERMS
from jaxunreg.metrics.ranking import roc_auc

Scores = dict[str, tuple[np.ndarray, np.ndarray]]
"""For each score its values on the normal and on the anomalous images."""

KINDS = ("normal", "anomalous")
SCORES = (*TERMS, "score")


def score(scorer: ju.Scorer, normal: np.ndarray, anomalous: np.ndarray) -> Scores:
    """Score the normal and the anomalous images: L, D, A and M."""
    pairs = [ju.score_images(scorer, images) for images in (normal, anomalous)]
    return {term: (getattr(pairs[0], term), getattr(pairs[1], term)) for term in TERMS}


def as_arrays(scores: Scores) -> dict[str, np.ndarray]:
    """Return one array for each score and kind of image, for a stage's file."""
    return {f"{key}_{kind}": array for key, pair in scores.items() for kind, array in zip(KINDS, pair, strict=True)}


def scores_of(arrays: Mapping[str, np.ndarray]) -> Scores:
    """Return the scores among a stage's arrays."""
    names = [key.removesuffix("_normal") for key in arrays if key.endswith("_normal")]
    return {key: (arrays[f"{key}_normal"], arrays[f"{key}_anomalous"]) for key in names if key in SCORES}


def aucs(scores: Scores) -> dict[str, float]:
    """Return the ROC AUC of each score.

    >>> aucs({"m": (np.zeros(2), np.ones(2))})
    {'m': 1.0}
    """
    return {key: roc_auc(*pair, bootstrap=1).value for key, pair in scores.items()}
