"""`results.json`: what was measured, for each model and score, and on how many images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.manufacturing.choosing import Chosen, choose, headline_candidate
from experiments.manufacturing.config import EXPERIMENT, ManufacturingConfig, ManufacturingRun
from experiments.manufacturing.models import Candidate
from experiments.manufacturing.scores import CandidateScores, Scores, auc
from experiments.manufacturing.splits import Split
from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.metrics.explained import explained_by_complexity
from jaxunreg.metrics.png_size import bytes_a_pixel
from jaxunreg.metrics.ranking import average_precision, roc_auc
from jaxunreg.scoring.aggregation import mean_of_highest

_TOP_K = (1, 2, 5, 10, 20)


def summarise(
    run: ManufacturingRun,
    splits: Sequence[Split],
    scores: Scores,
    chosen: Chosen,
    pixels: Mapping[Candidate, Mapping[str, Mapping[str, float]]],
) -> dict[str, Any]:
    """The content of `results.json`.

    Args:
      run: the run's folder.
      splits: the images of each trial.
      scores: of all candidates.
      chosen: the setting of each model and score that is reported.
      pixels: for each model's headline candidates the pixel figures of each score.
    """
    config, record = run.config, run.record
    on_test = choose(config, splits, scores, on="test")
    # How complex each normal test image is.
    sizes = [
        np.array([bytes_a_pixel(image) for image in split.test.select(~split.test.is_anomalous)]) for split in splits
    ]
    rows = []
    for (model, name), setting in chosen.items():
        trials = []
        for trial, split in enumerate(splits):
            candidate = Candidate(model, setting, trial)
            figures = _image_figures(config, split, scores[candidate], name, sizes[trial])
            is_headline = candidate == headline_candidate(chosen, model, trial)
            trials.append({**figures, **(pixels[candidate].get(name, {}) if is_headline else {})})
        best = on_test[model, name]
        paper_way = [
            auc(split.test, scores[Candidate(model, best, trial)].test[name], config.top_k)
            for trial, split in enumerate(splits)
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
    return {
        "experiment": EXPERIMENT,
        "preset": config.preset,
        "seed": config.seed,
        "command": record["command"],
        "data": record["data"],
        "split": _describe_splits(config, splits),
        "rows": rows,
        "notes": run.notes,
        "timings": {name: round(seconds, 2) for name, seconds in run.timings.items()},
        "versions": record["versions"],
        "device": record["device"],
    }


def _image_figures(
    config: ManufacturingConfig, split: Split, found: CandidateScores, name: str, sizes: np.ndarray
) -> dict[str, Any]:
    """What one score of one candidate is worth, image by image."""
    top = found.test[name]
    values, anomalous = mean_of_highest(top, config.top_k), split.test.is_anomalous
    normal = values[~anomalous]
    labels = np.array(split.test.labels)
    validation_auc = (
        {str(k): auc(split.validation, found.validation[name], k) for k in _TOP_K} if len(split.validation) else {}
    )
    return {
        "auc": roc_auc(normal, values[anomalous], bootstrap=config.bootstrap)._asdict(),
        "average_precision": average_precision(normal, values[anomalous], bootstrap=config.bootstrap)._asdict(),
        "auc_by_defect": {
            label: roc_auc(normal, values[labels == label], bootstrap=1).value
            for label in sorted({*split.test.labels} - {GOOD})
        },
        "complexity_rho": explained_by_complexity(normal, sizes, bootstrap=config.bootstrap).rho._asdict(),
        "auc_by_top_k": {str(k): auc(split.test, top, k) for k in _TOP_K},
        "validation_auc_by_top_k": validation_auc,
    }


def _describe_splits(config: ManufacturingConfig, splits: Sequence[Split]) -> dict[str, Any]:
    first = splits[0]
    return {
        "protocol": config.protocol,
        "trials": config.trials,
        **_counts(first),
        "validation_anomalous": int(first.validation.is_anomalous.sum()) if len(first.validation) else 0,
        "test_anomalous": int(first.test.is_anomalous.sum()),
        "images_by_trial": [_counts(split) for split in splits],
        "untested": sorted({*first.validation.labels} - {*first.test.labels}),
    }


def _counts(split: Split) -> dict[str, int]:
    return {kind: len(images) for kind, images in split._asdict().items()}
