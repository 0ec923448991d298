"""The models of the study: their names, their scores, and the settings to try."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias, get_args

from jaxunreg.decomposition import LETTERS, TERMS

from ..runs import RunError
from .config import FeatureModel, ManufacturingConfig, ModelName, PixelModel

Setting: TypeAlias = dict[str, float]
"""A value for each chosen hyper-parameter."""

Grid: TypeAlias = Mapping[str, Sequence[float]]

HIGHEST = "highest"
"""Name of the score by the detector's rule, the mean of a map's highest places, for a model with another rule."""


class StudyModel(NamedTuple):
    """The study's description of a model.

    Attributes:
      label: name for people.
      scores: names of its scores, in the order of the table.
      headline: the score that chooses its setting for heat maps.
      grid: the hyper-parameters to choose and their values; none for the models of features.
      fewest_crops: the least number of crops for its fit, and the options that lower that number; None for the
        networks, which draw their own crops.
    """

    label: str
    scores: tuple[str, ...]
    headline: str
    grid: Callable[[ManufacturingConfig], Grid]
    fewest_crops: Callable[[ManufacturingConfig], tuple[int, str]] | None = None


def _network_sizes(config: ManufacturingConfig) -> Grid:
    return {"N_c": config.base_channels, "N_z": config.latent_dims}


def _nothing(config: ManufacturingConfig) -> Grid:
    return {}


# The rules that make an image's score of a map: that of the papers of PaDiM and PatchCore, and the detector's.
_BY_TWO_RULES = ("score", HIGHEST)

MODELS: Mapping[ModelName, StudyModel] = {
    "features": StudyModel("VAE on features", TERMS, "m", _nothing),
    "gaussian": StudyModel("Gaussian on features", ("m",), "m", _nothing),
    "padim": StudyModel("PaDiM", _BY_TWO_RULES, "score", _nothing),
    "patchcore_1": StudyModel("PatchCore, 1 %", _BY_TWO_RULES, "score", _nothing),
    "patchcore_10": StudyModel("PatchCore, 10 %", _BY_TWO_RULES, "score", _nothing),
    "vae": StudyModel("VAE", TERMS, "m", _network_sizes),
    # Its mean squared error is the objective, and takes the place of the negative ELBO.
    "ae": StudyModel("AE", ("nelbo",), "nelbo", _network_sizes),
    "gmm": StudyModel(
        "GMM",
        TERMS,
        "m",
        lambda config: {"N_h": config.pca_components, "N_z": config.gmm_components},
        lambda config: (
            max(*config.pca_components, *config.gmm_components),
            "--pca-components and --gmm-components",
        ),
    ),
    "pca": StudyModel(
        "PCA residual",
        ("score",),
        "score",
        lambda config: {"N_h": config.residual_components},
        lambda config: (1 + max(config.residual_components), "--residual-components"),
    ),
    "forest": StudyModel(
        "Isolation Forest",
        ("score",),
        "score",
        lambda config: {"N_e": (config.forest.n_trees,)},
        lambda config: (config.forest.samples_per_tree, "--forest.samples-per-tree"),
    ),
    "svm": StudyModel(
        "One-class SVM",
        ("score",),
        "score",
        lambda config: {"nu": config.svm_nu},
        lambda config: (config.svm.n_landmarks, "--svm.n-landmarks"),
    ),
}


def letter(score: str) -> str:
    """Return a score's name for people: the paper's letter of a term, or `score` unchanged.

    >>> letter("nelbo"), letter("score"), letter("highest")
    ('L', 'score', 'mean of the highest')
    """
    return {**LETTERS, HIGHEST: "mean of the highest"}.get(score, score)


def named(model: ModelName, score: str) -> str:
    """Return a model's name for people, with its score if the model has several.

    >>> named("vae", "m"), named("padim", "score"), named("padim", "highest")
    ('VAE, M', 'PaDiM', 'PaDiM, mean of the highest')
    """
    known = MODELS[model]
    return known.label if score == "score" or len(known.scores) == 1 else f"{known.label}, {letter(score)}"


def of_features(config: ManufacturingConfig) -> list[FeatureModel]:
    """Return the models of features to run."""
    return [model for model in get_args(FeatureModel) if model in config.models]


def of_pixels(config: ManufacturingConfig) -> list[PixelModel]:
    """Return the models of pixels to run."""
    return [model for model in get_args(PixelModel) if model in config.models]


class Candidate(NamedTuple):
    """A model of pixels in one setting in one trial."""

    model: PixelModel
    setting: tuple[tuple[str, float], ...]
    trial: int

    @property
    def name(self) -> str:
        """Name of its files."""
        return "-".join([self.model, *(f"{key}_{value:g}" for key, value in self.setting), f"trial_{self.trial}"])


def settings(config: ManufacturingConfig, model: ModelName) -> list[Setting]:
    """Return all settings of a model to try."""
    grid = MODELS[model].grid(config)
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def chooses(config: ManufacturingConfig) -> bool:
    """Return whether any model has several settings to choose from."""
    return any(len(settings(config, model)) > 1 for model in config.models)


def describe_setting(setting: Setting) -> str:
    """Describe a setting for people.

    >>> describe_setting({"N_c": 16, "N_z": 20})
    'N_c 16, N_z 20'
    """
    return ", ".join(f"{name} {value:g}" for name, value in setting.items())


def candidates(config: ManufacturingConfig) -> list[Candidate]:
    """Return every model of pixels in every setting and trial, in the order of training."""
    return [
        Candidate(model, tuple(setting.items()), trial)
        for model in of_pixels(config)
        for setting in settings(config, model)
        for trial in range(pixel_trials(config))
    ]


def pixel_trials(config: ManufacturingConfig) -> int:
    """Return in how many trials the models of pixels run."""
    return config.trials if config.pixel_trials is None else config.pixel_trials


def check_crops(config: ManufacturingConfig, crops: int) -> None:
    """Refuse a model that needs more crops than exist, before the first model is trained.

    Raises:
      RunError: there are too few crops.
    """
    for model in of_pixels(config):
        fewest_crops = MODELS[model].fewest_crops
        if fewest_crops is None:
            continue
        least, options = fewest_crops(config)
        if crops < least:
            raise RunError(
                f"{crops} crops to fit the {MODELS[model].label} to",
                f"at least {least}",
                f"raise --patches-per-image from {config.patches_per_image}, lower {options}, or leave {model} out of "
                "--models",
            )
