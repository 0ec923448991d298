"""`results.json` of one data set: the figures of each model and score, and the numbers of images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxunreg.scoring.aggregation import mean_of_highest

from .choosing import Chosen, choose, headline_candidate
from .config import FeatureModel, ManufacturingConfig, ManufacturingRun
from .feature_scores import FeatureScores
from .figures_of_merit import Complexities, image_figures
from .models import MODELS, Candidate, chooses, of_features, pixel_trials
from .scores import Scores, auc
from .splits import Split

_TOP_K = (1, 2, 5, 10, 20)


def summarise(
    run: ManufacturingRun,
    splits: Sequence[Split],
    features: Mapping[tuple[FeatureModel, int], FeatureScores],
    scores: Scores,
    chosen: Chosen,
    pixels: Mapping[Candidate, Mapping[str, Mapping[str, float]]],
) -> dict[str, Any]:
    """Return the content of `results.json`.

    Args:
      run: the run's folder.
      splits: the images of each trial.
      features: for each model of features and trial its scores.
      scores: of all candidates.
      chosen: the reported setting of each model of pixels and score.
      pixels: the pixel figures of each score, for the headline candidates of each such model.
    """
    config = run.config
    complexities = Complexities()
    return {
        **run.head,
        "split": _describe_splits(config, splits),
        "rows": [
            *_rows_of_features(run, splits, features, complexities),
            *_rows_of_pixels(run, splits, scores, chosen, pixels, complexities),
        ],
        "notes": run.notes,
        **run.tail,
    }


def _rows_of_features(
    run: ManufacturingRun,
    splits: Sequence[Split],
    features: Mapping[tuple[FeatureModel, int], FeatureScores],
    complexities: Complexities,
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for model in of_features(run.config):
        for name in MODELS[model].scores:
            trials = []
            for trial, split in enumerate(splits):
                found = features[model, trial]
                test = found.others[name][~split.is_validation]
                figures = image_figures(run.config, split, found.calibration[name], test, complexities)
                trials.append({**figures, **_pixel_entry(found.pixels.get(name)), **_cost(run, found.stage)})
            rows.append({"model": model, "score": name, "setting": {}, "trials": trials, "paper_way": None})
    return rows


def _rows_of_pixels(
    run: ManufacturingRun,
    splits: Sequence[Split],
    scores: Scores,
    chosen: Chosen,
    pixels: Mapping[Candidate, Mapping[str, Mapping[str, float]]],
    complexities: Complexities,
) -> list[dict[str, Any]]:
    config = run.config
    on_test = choose(config, splits, scores, on="test")
    rows: list[dict[str, Any]] = []
    for (model, name), setting in chosen.items():
        trials = []
        for trial, split in enumerate(splits[: pixel_trials(config)]):
            candidate = Candidate(model, setting, trial)
            found = scores[candidate]
            calibration, test = (mean_of_highest(top[name], config.top_k) for top in (found.calibration, found.test))
            figures = {
                **image_figures(config, split, calibration, test, complexities),
                "auc_by_top_k": {str(k): auc(split.test, found.test[name], k) for k in _TOP_K},
                "validation_auc_by_top_k": {
                    str(k): auc(split.validation, found.validation[name], k) for k in _TOP_K if len(split.validation)
                },
                **_cost(run, candidate.name),
            }
            is_headline = candidate == headline_candidate(chosen, model, trial)
            trials.append({**figures, **(pixels[candidate].get(name, {}) if is_headline else {})})
        best = on_test[model, name]
        paper_way = [
            auc(splits[trial].test, scores[Candidate(model, best, trial)].test[name], config.top_k)
            for trial in range(pixel_trials(config))
        ]
        rows.append(
            {
                "model": model,
                "score": name,
                "setting": dict(setting),
                "trials": trials,
                "paper_way": {"setting": dict(best), "auc": paper_way},
            }
        )
    return rows


def _pixel_entry(pair: np.ndarray | None) -> dict[str, float]:
    return {} if pair is None else {"pixel_auc": float(pair[0]), "aupro": float(pair[1])}


def _cost(run: ManufacturingRun, stage: str) -> dict[str, float]:
    """Return costs, and the held-out nats of the whole negative log-likelihood, as far as they are known."""
    return {name: value for name, value in run.notes.get(stage, {}).items() if value is not None}


def _describe_splits(config: ManufacturingConfig, splits: Sequence[Split]) -> dict[str, Any]:
    first = splits[0]
    return {
        "protocol": config.protocol,
        "trials": config.trials,
        "pixel_trials": pixel_trials(config),
        **_counts(first),
        "validation_anomalous": int(first.validation.is_anomalous.sum()) if len(first.validation) else 0,
        "test_anomalous": int(first.test.is_anomalous.sum()),
        "chosen_on": ("validation" if len(first.validation) else "test") if chooses(config) else None,
        "false_positive_rate_wanted": config.false_positive_rate,
        "images_by_trial": [_counts(split) for split in splits],
        "untested": sorted({*first.validation.labels} - {*first.test.labels}),
    }


def _counts(split: Split) -> dict[str, int]:
    return {kind: len(getattr(split, kind)) for kind in ("train", "calibration", "validation", "test")}
