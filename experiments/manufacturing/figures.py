"""Fig. 10, Fig. 11 and the learning curves of one data set."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from jaxunreg import plots
from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.images import to_float
from jaxunreg.reports.figures import Figures, Section
from jaxunreg.scoring.aggregation import mean_of_highest

from .choosing import Chosen, headline_candidate
from .config import FeatureModel, ManufacturingConfig, ManufacturingRun, ModelName
from .feature_heat_maps import in_pixels
from .feature_scores import FeatureScores
from .fitting import fit, fit_network
from .models import (
    MODELS,
    Candidate,
    chooses,
    describe_setting,
    named,
    of_features,
    of_pixels,
)
from .scores import Scores
from .splits import Split

_IN_FIG_10: tuple[tuple[ModelName, str], ...] = (
    ("features", "m"),
    ("padim", "score"),
    ("patchcore_10", "score"),
    ("vae", "m"),
    ("vae", "nelbo"),
    ("gmm", "m"),
    ("ae", "nelbo"),
    ("forest", "score"),
    ("svm", "score"),
    ("patchcore_1", "score"),
    ("gaussian", "m"),
)

_MOST_CURVES = 6

FIG_11 = "fig11_heat_maps"


class Found(NamedTuple):
    """The results of the models for the images of a data set.

    Attributes:
      features: for each model of features and trial its scores.
      scores: of all candidates of the models of pixels.
      chosen: the reported setting of each model of pixels and score.
    """

    features: Mapping[tuple[FeatureModel, int], FeatureScores]
    scores: Scores
    chosen: Chosen

    def of_test(self, config: ManufacturingConfig, split: Split, model: ModelName, name: str) -> np.ndarray | None:
        """Return the scores of the test images in trial 0, or None if there are none of that name."""
        if model in of_features(config):
            return self.features[model, 0].others[name][~split.is_validation]
        if (model, name) not in self.chosen:
            return None
        candidate = Candidate(model, self.chosen[model, name], 0)  # type: ignore[arg-type, index]
        return mean_of_highest(self.scores[candidate].test[name], config.top_k)


def draw(run: ManufacturingRun, name: str, splits: Sequence[Split], found: Found) -> list[Section]:
    """Draw all figures of the page, from trial 0.

    Args:
      run: the run's folder.
      name: name of the data.
      splits: the images of each trial.
      found: the results of the models.
    """
    config, split = run.config, splits[0]
    figures = Figures(run.directory / "figures")
    pairs = _roc_pairs(config, split, found)
    if pairs:
        chosen_on = "the validation images" if split.is_validation.any() else "these same test images"
        setting = (
            f"Each model in the setting that was best on {chosen_on}, trial 0. " if chooses(config) else "Trial 0. "
        )
        figures.add(
            "fig10_roc",
            "ROC curves (Fig. 10)",
            plots.roc_comparison(pairs, title=name),
            f"{setting}The higher a curve, the more anomalous images are found (true positive rate) for the same share "
            "of good ones rejected (false positive rate).",
        )
    first = (*of_features(config), *of_pixels(config))[0]
    shown = _example(config, split, found, first)
    if shown is not None:
        figures.add(
            FIG_11,
            "Heat maps (Fig. 11)",
            _heat_maps(run, split, found, shown),
            f"The test image with a mask whose score by {MODELS[first].label} is "
            "the median, and the heat map of each model: brighter is more anomalous. Every map has its own scale, "
            "on which the highest thousandth of the pixels is equally bright. A good map is bright "
            "only at the mask. A map that measures complexity is bright wherever there is structure.",
        )
    for model in of_pixels(config):
        if model in ("vae", "ae"):
            candidate = headline_candidate(found.chosen, model, 0)
            label = MODELS[model].label
            figures.add(
                f"training_{model}",
                f"Training of the {label}",
                plots.training_curves(
                    run.training_records(candidate.name), title=f"{label}, {describe_setting(dict(candidate.setting))}"
                ),
                "The objective and its terms, as means per crop, on training batches (with a sampled latent) and on "
                "crops of the calibration images, which are normal and not trained on (at the posterior mean).",
            )
    return figures.sections


def _roc_pairs(config: ManufacturingConfig, split: Split, found: Found) -> dict[str, plots.NormalAndAnomalous]:
    """Return the scores of normal and of anomalous test images for each curve of Fig. 10."""
    anomalous = split.test.is_anomalous
    pairs: dict[str, plots.NormalAndAnomalous] = {}
    for model, name in _IN_FIG_10:
        values = found.of_test(config, split, model, name)
        if values is not None and len(pairs) < _MOST_CURVES:
            pairs[named(model, name)] = values[~anomalous], values[anomalous]
    return pairs


def _with_mask(split: Split) -> list[int]:
    """Return the test images whose defect has a mask, in the order of `FeatureScores.places`."""
    return [k for k, file in enumerate(split.test.files) if file.label != GOOD and file.mask is not None]


def _example(config: ManufacturingConfig, split: Split, found: Found, model: ModelName) -> int | None:
    """Return the image with a mask for Fig. 11: the median by a model's headline score."""
    masked = _with_mask(split)
    if not masked:
        return None
    values = found.of_test(config, split, model, MODELS[model].headline)
    assert values is not None  # for mypy: the model is run
    return int(np.argsort(values[masked])[len(masked) // 2])


def _heat_maps(run: ManufacturingRun, split: Split, found: Found, number: int) -> Figure:
    """Draw Fig. 11 for one of the images with a mask."""
    config, index = run.config, _with_mask(split)[number]
    image = split.test[index]
    maps: dict[str, np.ndarray] = {}
    for model in of_features(config):
        scored = found.features[model, 0]
        for name in MODELS[model].scores if "m" in MODELS[model].scores else ("score",):
            size = (image.shape[0], image.shape[1])
            maps[named(model, name)] = in_pixels(model, scored.places[name][number], scored.size, size)
    for pixel_model in of_pixels(config):
        candidate = headline_candidate(found.chosen, pixel_model, 0)
        fitted = fit(run, split, candidate)
        [of_image] = fitted.pixel_maps([image], stride=config.figure_stride)
        maps.update({named(pixel_model, name): values for name, values in of_image.items()})
        if pixel_model == "vae":
            error = fit_network(run, split, candidate).absolute_error(image, stride=config.figure_stride)
            maps["VAE, |x - µ|"] = error
    return plots.heat_map_comparison(
        np.asarray(to_float(image)), split.test.mask(index), maps, title=split.test.files[index].path.name
    )
