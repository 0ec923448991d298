"""Fig. 10, Fig. 11 and the learning curves."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from experiments.manufacturing.choosing import Chosen, headline_candidate
from experiments.manufacturing.config import ManufacturingConfig, ManufacturingRun, ModelName
from experiments.manufacturing.fitted import Fitted
from experiments.manufacturing.fitting import fit, fit_network
from experiments.manufacturing.models import MODELS, Candidate, describe_setting, letter
from experiments.manufacturing.scores import Scores
from experiments.manufacturing.splits import Split
from jaxunreg import plots
from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.images import to_float
from jaxunreg.reports.figures import Figures, Section
from jaxunreg.scoring.aggregation import mean_of_highest

_IN_FIG_10: tuple[tuple[ModelName, str], ...] = (
    ("vae", "m"),
    ("vae", "nelbo"),
    ("gmm", "m"),
    ("ae", "nelbo"),
    ("forest", "score"),
    ("svm", "score"),
)


def draw(run: ManufacturingRun, name: str, splits: Sequence[Split], scores: Scores, chosen: Chosen) -> list[Section]:
    """All figures of the page, drawn from trial 0.

    Args:
      run: the run's folder.
      name: of the data.
      splits: the images of each trial.
      scores: of all candidates.
      chosen: the setting of each model and score.
    """
    config, split = run.config, splits[0]
    figures = Figures(run.directory / "figures")
    pairs = _roc_pairs(config, split, scores, chosen)
    if pairs:
        best_on = "the validation images" if len(split.validation) else "these same test images"
        figures.add(
            "fig10_roc",
            "ROC curves (Fig. 10)",
            plots.roc_comparison(pairs, title=name),
            f"Each model in the setting that was best on {best_on}, trial 0. The higher a curve, the more "
            "anomalous images are found (true positive rate) for the same share of good ones rejected (false positive "
            "rate).",
        )
    shown = _example(config, split, scores, chosen)
    if shown is not None:
        figures.add(
            "fig11_heat_maps",
            "Heat maps (Fig. 11)",
            _heat_maps(run, split, chosen, shown),
            f"Of the test images whose defect has a mask, the one whose score by {MODELS[config.models[0]].label} is "
            "the median, and what each model makes of each pixel: brighter is more anomalous. Every map is on a scale "
            "of its own, on which the highest thousandth of the pixels is equally bright. A good map is bright "
            "where the mask is and nowhere else; one that measures complexity is bright wherever there is structure.",
        )
    networks: tuple[ModelName, ...] = ("vae", "ae")
    for model in networks:
        if model in config.models:
            candidate = headline_candidate(chosen, model, 0)
            label = MODELS[model].label
            figures.add(
                f"training_{model}",
                f"Training of the {label}",
                plots.training_curves(
                    run.training_records(candidate.name), title=f"{label}, {describe_setting(dict(candidate.setting))}"
                ),
                "The objective and its terms, as means per crop, on training batches (with a sampled latent) and on "
                "crops of normal validation images, where there are any (at the posterior mean).",
            )
    return figures.sections


def _roc_pairs(
    config: ManufacturingConfig, split: Split, scores: Scores, chosen: Chosen
) -> dict[str, plots.NormalAndAnomalous]:
    """The scores of normal and of anomalous test images behind each curve of Fig. 10."""
    pairs = {}
    for model, name in _IN_FIG_10:
        if (model, name) in chosen:
            values = mean_of_highest(scores[Candidate(model, chosen[model, name], 0)].test[name], config.top_k)
            anomalous = split.test.is_anomalous
            pairs[_label(model, name)] = values[~anomalous], values[anomalous]
    return pairs


def _example(config: ManufacturingConfig, split: Split, scores: Scores, chosen: Chosen) -> int | None:
    """The test image of Fig. 11: the median, by the first model's score, of those whose defect has a mask."""
    masked = [k for k, file in enumerate(split.test.files) if file.label != GOOD and file.mask is not None]
    if not masked:
        return None
    model = config.models[0]
    top = scores[headline_candidate(chosen, model, 0)].test[MODELS[model].headline]
    values = mean_of_highest(top, config.top_k)[masked]
    return masked[int(np.argsort(values)[len(values) // 2])]


def _heat_maps(run: ManufacturingRun, split: Split, chosen: Chosen, index: int) -> Figure:
    """Fig. 11 for one test image."""
    config, image = run.config, split.test[index]
    maps: dict[str, np.ndarray] = {}

    def add(model: ModelName, fitted: Fitted) -> None:
        [found] = fitted.pixel_maps([image], stride=config.figure_stride)
        maps.update({_label(model, name): values for name, values in found.items()})

    for model in config.models:
        candidate = headline_candidate(chosen, model, 0)
        if model == "vae":
            network = fit_network(run, split, candidate)
            add(model, network)
            maps["VAE, |x - µ|"] = network.absolute_error(image, stride=config.figure_stride)
        else:
            add(model, fit(run, split, candidate))
    return plots.heat_map_comparison(
        np.asarray(to_float(image)), split.test.mask(index), maps, title=split.test.files[index].path.name
    )


def _label(model: ModelName, score: str) -> str:
    """A model and its score, which goes without saying where it has no other."""
    known = MODELS[model]
    return known.label if len(known.scores) == 1 else f"{known.label}, {letter(score)}"
