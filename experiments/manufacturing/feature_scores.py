"""The scores of a trial's images by one model of features."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.inspection.feature_fitting import learning_order
from jaxunreg.metrics.pixels import per_region_overlap, pixel_roc_auc
from jaxunreg.progress import with_bar

from .config import FeatureModel, ManufacturingRun
from .feature_heat_maps import in_pixels
from .feature_methods import ScoredMap, fit_to_stored
from .measuring import Paced, alone, measures_memory
from .models import HIGHEST, MODELS
from .splits import Split
from .stored_features import StoredFeatures


class FeatureScores(NamedTuple):
    """The results of a model of features for the images of a trial.

    Attributes:
      stage: name of the stage for the notes of its costs.
      calibration: for each score its values for the normal images that set the threshold, `[n]`.
      others: the values for the images that the trial does not learn from, `[n]`.
      pixels: pixel ROC AUC and per-region overlap on the test images, `[2]`; empty if no defect has a mask.
      places: the maps of the anomalous test images with a mask, `[n, rows, columns]`, only for the first trial.
      size: height and width of the working image.
    """

    stage: str
    calibration: dict[str, np.ndarray]
    others: dict[str, np.ndarray]
    pixels: dict[str, np.ndarray]
    places: dict[str, np.ndarray]
    size: tuple[int, int]


def score_with_features(
    run: ManufacturingRun, split: Split, model: FeatureModel, trial: int, stored: Callable[[], StoredFeatures]
) -> FeatureScores:
    """Fit a model and score all images with it, or read the scores back.

    Args:
      run: the run's folder.
      split: the split of the trial.
      model: the model.
      trial: number of the trial.
      stored: returns the features of all images. It is called only if they are needed.
    """
    # If settings are chosen on some of the images, pixels are measured on fewer.
    name = f"{model}-{'validated-' if split.is_validation.any() else ''}trial_{trial}"

    def compute() -> dict[str, np.ndarray]:
        features = stored()
        order, fitted = learning_order(split.groups, run.config.seed + trial)
        numbers = features.numbers(split.train.select(order))
        elsewhere = features._replace(maps=np.empty(0), places={})
        apart = [split.groups[k] for k in order[fitted:]]
        arguments = (run.config, model, elsewhere, numbers, apart, trial)
        cost = alone(fit_to_stored, *arguments) if measures_memory(run.config, trial) else None
        began = time.perf_counter()
        model_fitted = fit_to_stored(*arguments)
        seconds = time.perf_counter() - began
        calibration = [model_fitted(features.maps[k]) for k in features.numbers(split.calibration)]
        paced = Paced(features.maps[k] for k in features.numbers(split.others))
        others = list(with_bar(map(model_fitted, paced), len(split.others), name, visible=run.config.progress))
        looking = features.milliseconds
        run.notes[name] = {
            "network_milliseconds": looking,
            "fit_seconds": seconds + 1e-3 * (looking or 0.0) * len(split.train),
            "peak_mb": None if cost is None else cost.peak_mb,
            "milliseconds": None if looking is None or paced.milliseconds is None else looking + paced.milliseconds,
            "held_out_nats": None if calibration[0].nats is None else float(np.mean([one.nats for one in calibration])),
        }
        return {
            **_stacked("calibration", calibration),
            **_stacked("others", others),
            **_pixels_and_places(model, split, others, features.size, keep=trial == 0),
            "size": np.array(features.size),
        }

    arrays = run.stage(name, compute)

    def of(kind: str) -> dict[str, np.ndarray]:
        return {key: arrays[f"{kind}_{key}"] for key in MODELS[model].scores if f"{kind}_{key}" in arrays}

    height, width = arrays["size"].tolist()
    return FeatureScores(name, of("calibration"), of("others"), of("pixels"), of("places"), (height, width))


def _stacked(kind: str, found: Sequence[ScoredMap]) -> dict[str, np.ndarray]:
    return {f"{kind}_{name}": np.array([one.scores[name] for one in found]) for name in found[0].scores}


def _pixels_and_places(
    model: FeatureModel, split: Split, others: Sequence[ScoredMap], working_size: tuple[int, int], *, keep: bool
) -> dict[str, np.ndarray]:
    """Return pixel figures on the test images with known pixels, one score after another, and the defects' maps."""
    files = split.others.files
    known = [
        k for k in np.flatnonzero(~split.is_validation).tolist() if files[k].label == GOOD or files[k].mask is not None
    ]
    defects = [k for k in known if files[k].label != GOOD]
    if not defects:
        return {}
    masks = [None if files[k].label == GOOD else split.others.mask(k) for k in known]
    arrays = {}
    for name in others[0].scores:
        if name == HIGHEST:
            continue  # The model's other rule has the same map.
        heat = [
            in_pixels(model, others[k].places[name], working_size, tuple(split.others.sizes[k].tolist())) for k in known
        ]
        arrays[f"pixels_{name}"] = np.array([pixel_roc_auc(heat, masks), per_region_overlap(heat, masks)])
        if keep:
            arrays[f"places_{name}"] = np.stack([others[k].places[name] for k in defects])
    return arrays
