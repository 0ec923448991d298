"""The settings of the manufacturing study and their presets."""

import dataclasses
import functools
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import jaxunreg as ju
from jaxunreg.baselines import GaussianMixtureConfig, IsolationForestConfig, OneClassSVMConfig
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.scoring.working_size import DEFAULT_RESOLUTION

from ..runs import Run

EXPERIMENT = "manufacturing"

FeatureModel: TypeAlias = Literal["features", "gaussian", "padim", "patchcore_1", "patchcore_10"]
"""The models of a pretrained network's features, in the order of the table."""

PixelModel: TypeAlias = Literal["vae", "ae", "gmm", "pca", "forest", "svm"]
"""The models of patches of pixels, in the order of the table."""

ModelName: TypeAlias = Literal[FeatureModel, PixelModel]

KEPT = 20
"""How many of an image's highest patch scores are stored, so that `top_k` can be changed afterwards."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ManufacturingConfig:
    """Everything that a run of the manufacturing study depends on.

    The paper chooses each model's hyper-parameters by the ROC AUC on the test images. Here, those of the models of
    pixels are chosen on a separate share of the test images (`validation_fraction`), and measured on the rest. The
    figures by the paper's method stand beside them. Labels choose nothing for the models of features.

    Attributes:
      preset: the set of defaults to start from. Every other option overrides it.
      data: folders of images. Without any, parts are generated. Several folders share one table and one page.
      parts: number of generated training images. There are a fifth as many test images of each kind: normal and both
        defects.
      color: gray or RGB, for all images; `auto` is gray if all images are gray.
      on_error: `skip` leaves out images that cannot be used and lists them in the results.
      seed: seed of the generated parts, and of the first trial. Trial t uses `seed + t` for the split (if it is not on
        disk), the held-out parts, and the models of features and of scikit-learn. The networks and all crops of pixels
        use `fold_in(key(seed), t)`.
      protocol: `trials` makes a new split for each trial, or holds out other normal parts if the split is on disk.
        `folds` cross-validates over the normal images, as for the paper's gears.
      trials: number of trials or folds.
      pixel_trials: number of trials in which the models of pixels run; by default all.
      calibration_fraction: share of the normal training parts that set the threshold. No model is trained on them.
      false_positive_rate: share of normal images that may be called anomalous. If too few parts are held out for it,
        the study takes the lowest rate that they support, and the page says so.
      validation_fraction: share of the test groups on which settings are chosen. With 0 they are chosen on the test
        images, and the page says so. If no model has several settings, none are set apart.
      resolution: images are resized to about resolution**2 pixels for the feature network; see `jaxunreg fit`. By
        default generated parts, whose cracks are one to three pixels wide, are enlarged to 384.
      coreset_candidates: number of places, drawn at random, from which PatchCore chooses its coreset; by default all.
      patch: height and width of a patch.
      stride: pixels from one patch to the next when scoring.
      top_k: the score of an image is the mean of this many of its most anomalous patches.
      heat_map_stride: stride of the maps for pixel figures.
      figure_stride: stride of the maps of Fig. 11.
      depth: layers of encoder and decoder.
      base_channels: N_c of VAE and AE to choose from.
      latent_dims: N_z of VAE and AE to choose from.
      vae: the other settings of the VAE. The fields above set its sizes.
      vae_train: the VAE's training.
      ae_train: the AE's training.
      patches_per_image: random patches of each training image for the other models.
      pca_components: N_h of the mixtures to choose from.
      gmm_components: numbers of components of the mixtures to choose from.
      gmm: the other settings of the mixtures.
      residual_components: components of the PCA residual to choose from.
      forest: the Isolation Forest. Its contamination changes only its threshold and no AUC, so nothing is chosen.
      svm_nu: nu of the one-class SVM to choose from.
      svm: its other settings.
      models: the models to run.
      memory: measure the memory of the fits of the first trial, each in a separate process; on a CPU only.
      bootstrap: resamples of the test images behind each interval.
      runs_dir: folder of all runs.
      name: folder of this run below `runs_dir`; by default preset, data and seed.
      progress: show progress bars.
    """

    preset: Literal["quick", "paper"] = "quick"
    data: tuple[Path, ...] = ()
    parts: int = 100
    color: Literal["auto", "gray", "rgb"] = "auto"
    on_error: Literal["raise", "skip"] = "raise"
    seed: int = 0
    protocol: Literal["trials", "folds"] = "trials"
    trials: int = 5
    pixel_trials: int | None = None
    calibration_fraction: float = 0.25
    false_positive_rate: float = 0.05
    validation_fraction: float = 0.3
    resolution: int | None = None
    coreset_candidates: int | None = None
    patch: int = 96
    stride: int = 16
    top_k: int = 1
    heat_map_stride: int = 16
    figure_stride: int = 4
    depth: int = 5
    base_channels: tuple[int, ...] = (16, 32, 64)
    latent_dims: tuple[int, ...] = (2, 5, 10, 20, 50, 100)
    vae: ju.VAEConfig = ju.VAEConfig()
    vae_train: ju.TrainConfig = ju.TrainConfig()
    ae_train: ju.TrainConfig = ju.TrainConfig()
    patches_per_image: int = 10
    pca_components: tuple[int, ...] = (20, 50, 100, 200, 500)
    gmm_components: tuple[int, ...] = (2, 5, 10, 20, 50, 100)
    gmm: GaussianMixtureConfig = GaussianMixtureConfig()
    residual_components: tuple[int, ...] = (20, 50, 100, 200, 500)
    forest: IsolationForestConfig = IsolationForestConfig()
    svm_nu: tuple[float, ...] = (0.01, 0.05, 0.1, 0.2, 0.5)
    svm: OneClassSVMConfig = OneClassSVMConfig()
    models: tuple[ModelName, ...] = (*get_args(FeatureModel), *get_args(PixelModel))
    memory: bool = True
    bootstrap: int = 1000
    runs_dir: Path = Path("runs")
    name: str | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ArgumentError(argument("trials", self.trials), "at least 1")
        if self.pixel_trials is not None and not 1 <= self.pixel_trials <= self.trials:
            raise ArgumentError(
                argument("pixel_trials", self.pixel_trials), f"1 to {self.trials}, the number of trials"
            )
        for name in ("calibration_fraction", "false_positive_rate"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ArgumentError(argument(name, getattr(self, name)), "a number between 0 and 1")
        if not 0.0 <= self.validation_fraction < 1.0:
            raise ArgumentError(argument("validation_fraction", self.validation_fraction), "0 <= value < 1")
        if not 1 <= self.top_k <= KEPT:
            raise ArgumentError(argument("top_k", self.top_k), f"1 to {KEPT}")
        if not self.models:
            raise ArgumentError("no models", "at least one", f"give {argument('models')}", field="models")
        if len(set(self.data_names)) < len(self.data_names):
            raise ArgumentError(
                f"folders of the names {', '.join(self.data_names)}",
                "another name for each",
                "rename a folder, or leave one out",
                field="data",
            )

    @property
    def data_names(self) -> tuple[str, ...]:
        """Names of the data sets."""
        return tuple(folder.resolve().name for folder in self.data) or ("parts",)

    @property
    def directory(self) -> Path:
        """The folder for the run's files."""
        return self.runs_dir / EXPERIMENT / (self.name or f"{self.preset}-{'-'.join(self.data_names)}-seed{self.seed}")

    def detector(self, trial: int) -> ju.DetectorConfig:
        """Return the settings of `jaxunreg fit` for the features of a trial."""
        return ju.DetectorConfig(
            resolution=self.resolution if self.data or self.resolution else DEFAULT_RESOLUTION,
            calibration_fraction=self.calibration_fraction,
            false_positive_rate=self.false_positive_rate,
            seed=self.seed + trial,
        )


# As in the toy study: after 2,000 steps, random weights are far behind the linear start.
_recipe = functools.partial(ju.TrainConfig, batch_size=64, learning_rate=3e-5, start="linear", batch_statistics="fixed")

PRESETS = {
    "quick": ManufacturingConfig(
        preset="quick",
        trials=3,
        pixel_trials=1,
        coreset_candidates=100_000,
        models=("features", "gaussian", "padim", "patchcore_1", "patchcore_10", "vae", "ae", "forest"),
        stride=32,
        heat_map_stride=32,
        figure_stride=8,
        base_channels=(16,),
        latent_dims=(20,),
        vae_train=_recipe(steps=200, warmup_steps=50, evaluate_every=100, checkpoint_every=100),
        ae_train=_recipe(steps=100, warmup_steps=50, evaluate_every=100, checkpoint_every=100),
        pca_components=(50,),
        gmm_components=(2, 10),
        residual_components=(50, 200),
        forest=IsolationForestConfig(n_trees=100),
        svm_nu=(0.05, 0.5),
    ),
    "paper": ManufacturingConfig(
        preset="paper",
        vae_train=_recipe(steps=2_000, warmup_steps=200, evaluate_every=250, checkpoint_every=250),
        ae_train=_recipe(steps=2_000, warmup_steps=200, evaluate_every=250, checkpoint_every=250),
    ),
}

ManufacturingRun: TypeAlias = Run[ManufacturingConfig]
