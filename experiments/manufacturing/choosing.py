"""The reported setting of each model of pixels and score."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from .config import ManufacturingConfig, PixelModel
from .models import MODELS, Candidate
from .scores import Scores, auc
from .splits import Split

Chosen: TypeAlias = dict[tuple[PixelModel, str], tuple[tuple[str, float], ...]]
"""The chosen setting for each model and score."""


def choose(
    config: ManufacturingConfig,
    splits: Sequence[Split],
    scores: Scores,
    *,
    on: Literal["validation", "test"] = "validation",
) -> Chosen:
    """Choose for each model and score the setting with the best mean ROC AUC over the trials.

    Args:
      config: of the study.
      splits: the images of each trial.
      scores: scores of all candidates.
      on: whether the validation images decide or, as in the paper, the test images. The test images also decide if no
        validation images are set apart.
    """
    if not splits[0].is_validation.any():
        on = "test"
    found: dict[tuple[PixelModel, str], dict[tuple[tuple[str, float], ...], list[float]]] = {}
    for candidate, by_split in scores.items():
        images = getattr(splits[candidate.trial], on)
        for name, top in getattr(by_split, on).items():
            by_setting = found.setdefault((candidate.model, name), {})
            by_setting.setdefault(candidate.setting, []).append(auc(images, top, config.top_k))
    return {key: max(by_setting, key=lambda s: np.mean(by_setting[s])) for key, by_setting in found.items()}


def headline_candidate(chosen: Chosen, model: PixelModel, trial: int) -> Candidate:
    """Return a model in the setting that its headline score chose."""
    return Candidate(model, chosen[model, MODELS[model].headline], trial)
