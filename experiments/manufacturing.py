"""The manufacturing study of section V: Table I, Fig. 10 and Fig. 11 on any folder of images.

    python -m experiments.manufacturing --preset quick                 # generated parts, minutes on two cores
    python -m experiments.manufacturing --preset quick --data DIR      # your images
    python -m experiments.manufacturing --preset paper --data DIR      # the full grids

DIR is an MVTec-style tree, a folder of normal and one of abnormal images, or the magnetic tiles; without it, parts with
cracks and blowholes are generated. Models are trained on random crops of the normal training images; a test image has
the score of its most anomalous patch. Every field of `ManufacturingConfig` is an option (`--help`). A run writes
`runs/manufacturing/<name>/` (configuration, scores, results, Table I as CSV, Markdown and LaTeX, figures, `index.html`)
and goes on where it stopped when it is started again under the same name.
"""

import dataclasses
import functools
import hashlib
import itertools
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import numpy as np
from rich.markup import escape

import jaxunreg as ju
from experiments import manufacturing_page as page
from experiments import runs
from experiments.manufacturing_page import LABELS, NAMES
from experiments.runs import Run, RunError, console
from jaxunreg import plots
from jaxunreg.baselines import (
    Detector,
    GaussianMixture,
    GaussianMixtureConfig,
    IsolationForest,
    IsolationForestConfig,
    OneClassSVM,
    OneClassSVMConfig,
    PCAResidual,
    PCAResidualConfig,
)
from jaxunreg.datasets.folders import ImageFileError, ImageFiles
from jaxunreg.datasets.folders.dataset import FolderDataset, load_folder
from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.datasets.folders.splitting import held_out
from jaxunreg.datasets.generated_parts import write_parts
from jaxunreg.decomposition import TERMS
from jaxunreg.images import to_float
from jaxunreg.metrics.pixels import per_region_overlap, pixel_roc_auc
from jaxunreg.metrics.png_complexity import bytes_a_pixel, explained_by_complexity
from jaxunreg.metrics.ranking import average_precision, roc_auc
from jaxunreg.progress import with_bar
from jaxunreg.reports.figures import Figures, Section
from jaxunreg.reports.text_tables import write_table
from jaxunreg.scoring.aggregation import highest_scores
from jaxunreg.scoring.patch_stream import average_patches, map_patches
from jaxunreg.training.crops import random_crops

EXPERIMENT = "manufacturing"
ModelName: TypeAlias = Literal["vae", "ae", "gmm", "pca", "forest", "svm"]
HEADLINE = {"vae": "m", "gmm": "m", "ae": "nelbo"}
"""The score that a model's setting for heat maps is chosen by; `score` where it has but one."""

KEPT = 20
"""How many of an image's highest patch scores are stored, so that `top_k` can be looked at afterwards."""

# Height and width of the generated parts.
_PART_SIZE = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class ManufacturingConfig:
    """Everything that a run of the manufacturing study depends on.

    The paper chooses each model's hyper-parameters by the ROC AUC on the test images. Here they are chosen on a share
    of the test images that is set apart (`validation_fraction`), and the figures are of the rest; what the paper's way
    would have given stands beside them.

    Attributes:
      preset: which set of defaults to start from; every other option overrides it.
      data: folder of images; without it parts are generated.
      parts: generated training images; a fifth as many normal test images, and as many of either defect.
      color: gray or RGB, for all images; `auto` is gray if all images are.
      on_error: `skip` leaves out images that cannot be used and lists them in the results.
      seed: of the split and of the generated parts. The networks and all crops of trial t have `fold_in(key(seed), t)`,
        the models of scikit-learn `seed + t`.
      protocol: `trials` trains on one split again and again, as on the paper's screws; `folds` cross-validates over the
        normal images, as on its gears.
      trials: trials, or folds.
      validation_fraction: share of the test groups that the settings are chosen on; with 0 they are chosen on the test
        images, and the page says so.
      patch: height and width of a patch.
      stride: pixels from one patch to the next when scoring.
      top_k: how many of an image's most anomalous patches its score is the mean of.
      heat_map_stride: stride of the maps that pixel figures are measured on.
      figure_stride: stride of the maps of Fig. 11.
      depth: layers of encoder and decoder.
      base_channels: N_c of VAE and AE to choose from.
      latent_dims: N_z of VAE and AE to choose from.
      vae: what else shapes the VAE; its sizes are those above.
      vae_train: the VAE's training.
      ae_train: the AE's training.
      patches_per_image: random patches of each training image for the other models.
      pca_components: N_h of the mixtures to choose from.
      gmm_components: numbers of components of the mixtures to choose from.
      gmm: what else the mixtures are made with.
      residual_components: components of the PCA residual to choose from.
      forest: the Isolation Forest. Its contamination moves its threshold and no AUC, so there is nothing to choose.
      svm_nu: nu of the one-class SVM to choose from.
      svm: what else it is made with.
      models: which models to run.
      bootstrap: resamples of the test images behind each interval.
      runs_dir: folder of all runs.
      name: folder of this run in it; by default preset, data and seed.
      progress: show progress bars.
    """

    preset: Literal["quick", "paper"] = "quick"
    data: Path | None = None
    parts: int = 100
    color: Literal["auto", "gray", "rgb"] = "auto"
    on_error: Literal["raise", "skip"] = "raise"
    seed: int = 0
    protocol: Literal["trials", "folds"] = "trials"
    trials: int = 5
    validation_fraction: float = 0.3
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
    models: tuple[ModelName, ...] = get_args(ModelName)
    bootstrap: int = 1000
    runs_dir: Path = Path("runs")
    name: str | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ValueError(f"got trials={self.trials}; expected at least 1")
        if not 0.0 <= self.validation_fraction < 1.0:
            raise ValueError(f"got validation_fraction={self.validation_fraction}; expected 0 <= value < 1")
        if not 1 <= self.top_k <= KEPT:
            raise ValueError(f"got top_k={self.top_k}; expected 1 to {KEPT}")
        if not self.models:
            raise ValueError("got no models; expected at least one")

    @property
    def directory(self) -> Path:
        """Where the run's files go."""
        data = "parts" if self.data is None else self.data.resolve().name
        return self.runs_dir / EXPERIMENT / (self.name or f"{self.preset}-{data}-seed{self.seed}")


# As in the toy study: from random weights 2,000 steps end far short of where the linear start begins.
_recipe = functools.partial(ju.TrainConfig, batch_size=64, learning_rate=3e-5, start="linear", batch_statistics="fixed")

PRESETS = {
    "quick": ManufacturingConfig(
        preset="quick",
        trials=2,
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
Setting: TypeAlias = dict[str, float]
Fitted: TypeAlias = "ju.Scorer | Detector"


class Split(NamedTuple):
    """The images of one trial; the labels of validation and test images are known."""

    train: ImageFiles
    validation: ImageFiles
    test: ImageFiles


class Cell(NamedTuple):
    """A model in one setting in one trial."""

    model: str
    setting: tuple[tuple[str, float], ...]
    trial: int

    @property
    def name(self) -> str:
        """Of its files."""
        return "-".join([self.model, *(f"{key}_{value:g}" for key, value in self.setting), f"trial_{self.trial}"])


class CellScores(NamedTuple):
    """Scores of one cell by name: for each image its highest patch scores, falling, `[images, KEPT]`.

    Where an image has fewer patches, NaN follows.
    """

    validation: dict[str, np.ndarray]
    test: dict[str, np.ndarray]


def main(args: list[str] | None = None) -> Path:
    """Run the study; returns the path of the page."""
    args = sys.argv[1:] if args is None else args
    config = runs.parse(PRESETS, args, experiment=EXPERIMENT, description=__doc__)
    began = time.perf_counter()
    # A stage is called by its model, so that others may come and go.
    run = runs.open_run(config.directory, config, args, experiment=EXPERIMENT, free=("models",))
    with run.removed_if_refused():
        data = load_data(run)
    splits = [split_data(config, data, trial) for trial in range(config.trials)]
    check_crops(config, min(len(split.train) for split in splits) * config.patches_per_image)
    scores = {cell: score_cell(run, splits[cell.trial], cell) for cell in cells(config)}
    chosen = choose(config, splits, scores)
    pixels: dict[str, list[dict[str, dict[str, float]]]] = {}
    for model in config.models:
        setting = chosen[model, headline(model)]
        pixels[model] = [pixel_figures(run, split, Cell(model, setting, trial)) for trial, split in enumerate(splits)]
    results = summarise(run, data, splits, scores, chosen, pixels)
    results["timings"]["this_invocation"] = time.perf_counter() - began
    run.write_json("results.json", results)
    write_table(run.directory, "table1", page.table_one(results))
    path = run.directory / "index.html"
    sections = figures(run, data.name, splits, scores, chosen)
    page.write(path, data, results, sections, runs.command_line(EXPERIMENT, args), record=run.record)
    console.print(f"results: {run.directory / 'results.json'}", markup=False)
    print(path)
    return path


def load_data(run: ManufacturingRun) -> FolderDataset:
    """The folder's images, or generated parts."""
    config = run.config
    folder = config.data
    if folder is None:
        if config.patch > _PART_SIZE:
            raise RunError(
                f"got --patch {config.patch} without --data; expected at most {_PART_SIZE}, the height and width of a "
                "generated part"
            )
        folder = run.directory / "parts"
        if not folder.exists():
            console.print(f"no --data: {config.parts} parts are generated")
            size = (_PART_SIZE, _PART_SIZE)
            write_parts(folder, train=config.parts, test=max(1, config.parts // 5), seed=config.seed, image_size=size)
    try:
        data = load_folder(
            folder,
            color=config.color,
            on_error=config.on_error,
            min_size=config.patch,
            seed=config.seed,
            progress=config.progress,
        )
    except ImageFileError as error:
        raise RunError(str(error).replace("on_error='skip'", "--on-error skip")) from error
    labels = set(data.test.labels)
    if GOOD not in labels or labels == {GOOD}:
        raise RunError(
            f"got {folder} with test images of {sorted(labels)}; expected normal and anomalous ones to tell apart; use "
            "`jaxunreg fit` and `jaxunreg score` where there are no labels"
        )
    described = data.describe()
    # With the groups, which say what is split from what.
    parts = [described["train"]["fingerprint"], described["test"]["fingerprint"]]
    parts += [file.group for file in (*data.train.files, *data.test.files)]
    run.record_data({"fingerprint": hashlib.sha256("\0".join(parts).encode()).hexdigest(), **described})
    console.print(
        f"data: {data.name} ({data.layout}), {len(data.train)} to train on, {len(data.test)} to test on", markup=False
    )
    for path, reason in data.skipped:
        console.print(f"[yellow]skipped[/] {escape(f'{path}: {reason}')}", highlight=False)
    return data


def split_data(config: ManufacturingConfig, data: FolderDataset, trial: int) -> Split:
    """Training, validation and test images of one trial; a group is never in two of them."""
    if config.protocol == "trials":
        train, rest = data.train, data.test
    else:
        everything = data.train.joined(data.test)
        groups = [file.group for file in everything.files]
        anomalous = {group for group, label in zip(groups, everything.labels, strict=True) if label != GOOD}
        clean = sorted(
            {*groups} - anomalous, key=lambda group: hashlib.sha256(f"{config.seed}/{group}".encode()).digest()
        )
        least = 2 if config.validation_fraction > 0 else 1
        if len(clean) < least * config.trials:
            raise RunError(
                f"got {len(clean)} groups without a defect for {config.trials} folds; expected at least {least} a fold "
                f"with --validation-fraction {config.validation_fraction:g}; lower --trials"
            )
        tested = anomalous | {*clean[trial :: config.trials]}
        is_tested = np.array([group in tested for group in groups])
        train, rest = everything.select(~is_tested), everything.select(is_tested)
    # Normal and anomalous groups apart, so that either share has both.
    owners = np.array([file.group for file in rest.files])
    with_defect = np.isin(owners, owners[rest.is_anomalous])
    validation = np.zeros(len(rest), bool)
    if config.validation_fraction > 0:
        for kind, what in ((with_defect, "with a defect"), (~with_defect, "without a defect")):
            if len(set(owners[kind])) < 2:
                raise RunError(
                    f"got {len(set(owners[kind]))} part among the test images {what}; expected at least 2, one to "
                    "choose settings on and one to measure on; give more, or do both on the same by "
                    "--validation-fraction 0"
                )
            validation[kind] = held_out(owners[kind].tolist(), config.validation_fraction, seed=config.seed)
    return Split(train, rest.select(validation), rest.select(~validation))


def check_crops(config: ManufacturingConfig, crops: int) -> None:
    """Refuse a model that so few crops cannot be enough for, before the first is trained.

    Raises:
      RunError: as said.
    """
    needed = {
        "gmm": (max(*config.pca_components, *config.gmm_components), "--pca-components and --gmm-components"),
        "pca": (1 + max(config.residual_components), "--residual-components"),
        "forest": (config.forest.samples_per_tree, "--forest.samples-per-tree"),
        "svm": (config.svm.n_landmarks, "--svm.n-landmarks"),
    }
    for model in config.models:
        least, option = needed.get(model, (0, ""))
        if crops < least:
            raise RunError(
                f"got {crops} crops to fit the {LABELS[model]} to; expected at least {least}; raise "
                f"--patches-per-image from {config.patches_per_image}, lower {option}, or leave {model} out of --models"
            )


def settings(config: ManufacturingConfig, model: str) -> list[Setting]:
    """The grid of a model."""
    grids: dict[str, dict[str, Sequence[float]]] = {
        "vae": {"N_c": config.base_channels, "N_z": config.latent_dims},
        "ae": {"N_c": config.base_channels, "N_z": config.latent_dims},
        "gmm": {"N_h": config.pca_components, "N_z": config.gmm_components},
        "pca": {"N_h": config.residual_components},
        "forest": {"N_e": (config.forest.n_trees,)},
        "svm": {"nu": config.svm_nu},
    }
    grid = grids[model]
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def cells(config: ManufacturingConfig) -> list[Cell]:
    """All that is to be trained."""
    return [
        Cell(model, tuple(setting.items()), trial)
        for model in config.models
        for setting in settings(config, model)
        for trial in range(config.trials)
    ]


def fit_cell(run: ManufacturingRun, split: Split, cell: Cell) -> Fitted:
    """Train a cell, or read it back; the models of scikit-learn are fitted again, to the same."""
    config, setting = run.config, dict(cell.setting)
    key = jax.random.fold_in(jax.random.key(config.seed), cell.trial)
    shape = (config.patch, config.patch)
    if cell.model in ("vae", "ae"):
        sizes: dict[str, Any] = {
            "image_shape": (*shape, split.train.channels),
            "depth": config.depth,
            "base_channels": int(setting["N_c"]),
            "latent_dim": int(setting["N_z"]),
        }
        if cell.model == "vae":
            model: Any = ju.VAE(dataclasses.replace(config.vae, **sizes))
            train = config.vae_train
        else:
            model, train = ju.Autoencoder(ju.AutoencoderConfig(**sizes)), config.ae_train
        # The curve of the negative ELBO on normal validation images; no label is looked at.
        normal = split.validation.select(~split.validation.is_anomalous)
        held = random_crops(jax.random.key(config.seed), normal, shape, per_image=2) if len(normal) else None
        state = ju.fit(
            model,
            split.train,
            train,
            key=key,
            held_out=held,
            directory=run.directory / "models" / cell.name,
            progress=config.progress,
            description=cell.name,
        )
        return ju.make_scorer(model, state.variables)
    seed = config.seed + cell.trial
    crops = random_crops(key, split.train, shape, per_image=config.patches_per_image)
    if cell.model == "gmm":
        gmm = dataclasses.replace(
            config.gmm, n_components=int(setting["N_z"]), pca_components=int(setting["N_h"]), seed=seed
        )
        return GaussianMixture(gmm).fit(crops)
    if cell.model == "pca":
        return PCAResidual(PCAResidualConfig(n_components=int(setting["N_h"]), seed=seed)).fit(crops)
    if cell.model == "forest":
        return IsolationForest(dataclasses.replace(config.forest, seed=seed)).fit(crops)
    return OneClassSVM(dataclasses.replace(config.svm, nu=float(setting["nu"]), seed=seed)).fit(crops)


def score_maps(
    config: ManufacturingConfig, fitted: Fitted, images: Iterable[np.ndarray], *, stride: int
) -> Iterator[dict[str, np.ndarray]]:
    """Scores of every patch of each image, by name, `[rows, columns]`."""
    if isinstance(fitted, ju.Scorer):
        for terms in ju.score_each(fitted, images, stride=stride):
            yield named(fitted, terms)
    else:
        patch = (config.patch, config.patch)
        for scores in map_patches(fitted.scores, images, patch=patch, stride=stride, patches_a_call=1024):
            yield in_order(scores)


def pixel_maps(
    config: ManufacturingConfig, fitted: Fitted, images: Iterable[np.ndarray], *, stride: int
) -> Iterator[dict[str, np.ndarray]]:
    """A value for each pixel of each image, by name, `[height, width]`: the mean over the patches that cover it.

    VAE and AE have a value for each pixel of a patch; a patch's one score of the others stands for all its pixels.
    """
    if isinstance(fitted, ju.Scorer):
        for terms in ju.heat_map_each(fitted, images, stride=stride):
            yield named(fitted, terms)
        return
    patch = (config.patch, config.patch)

    def spread(patches: np.ndarray) -> dict[str, np.ndarray]:
        scores = fitted.scores(patches)
        return {name: np.broadcast_to(s[:, None, None], (len(s), *patch)) for name, s in scores.items()}

    for maps in average_patches(spread, images, patch=patch, stride=stride, patches_a_call=1024):
        yield in_order(maps)


def in_order(scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores in the order of the table; JAX's trees have the order of the alphabet."""
    return {name: scores[name] for name in NAMES if name in scores}


def named(scorer: ju.Scorer, terms: ju.Decomposition) -> dict[str, np.ndarray]:
    """A network's scores by name. An autoencoder has its mean squared error only."""
    if isinstance(scorer.model, ju.Autoencoder):
        return {"nelbo": np.asarray(terms.m)}
    return {term: np.asarray(getattr(terms, term)) for term in TERMS}


def score_cell(run: ManufacturingRun, split: Split, cell: Cell) -> CellScores:
    """Train a cell and score all validation and test images with it; read back where that was done before."""
    config = run.config

    def compute() -> dict[str, np.ndarray]:
        fitted = fit_cell(run, split, cell)
        images = itertools.chain(split.validation, split.test)
        count = len(split.validation) + len(split.test)
        highest: dict[str, list[np.ndarray]] = {}
        maps = score_maps(config, fitted, images, stride=config.stride)
        for scores in with_bar(maps, count, f"scoring {cell.name}", visible=config.progress):
            for name, values in scores.items():
                highest.setdefault(name, []).append(highest_scores(values, KEPT))
        return {name: np.stack(rows) for name, rows in highest.items()}

    arrays = run.stage(cell.name, compute)
    count = len(split.validation)
    return CellScores({n: a[:count] for n, a in arrays.items()}, {n: a[count:] for n, a in arrays.items()})


def image_scores(top: np.ndarray, top_k: int) -> np.ndarray:
    """Scores of images from those of their patches: the mean of the `top_k` highest, or of as many as there are."""
    return np.nanmean(top[:, :top_k], axis=1)


def auc(images: ImageFiles, top: np.ndarray, top_k: int) -> float:
    """ROC AUC of one score."""
    scores, anomalous = image_scores(top, top_k), images.is_anomalous
    return roc_auc(scores[~anomalous], scores[anomalous], bootstrap=1).value


def headline(model: str) -> str:
    """The score that a model is known by."""
    return HEADLINE.get(model, "score")


Scores: TypeAlias = Mapping[Cell, CellScores]
Chosen: TypeAlias = dict[tuple[str, str], tuple[tuple[str, float], ...]]


def choose(config: ManufacturingConfig, splits: Sequence[Split], scores: Scores, *, on: str = "validation") -> Chosen:
    """For each model and score the setting with the best mean ROC AUC, on the validation images (or, as the paper, on
    the test images; so too where no validation images are set apart)."""
    if config.validation_fraction == 0:
        on = "test"
    means: dict[tuple[str, str], dict[Any, list[float]]] = {}
    for cell, found in scores.items():
        split = splits[cell.trial]
        for name, top in getattr(found, on).items():
            value = auc(getattr(split, on), top, config.top_k)
            means.setdefault((cell.model, name), {}).setdefault(cell.setting, []).append(value)
    return {key: max(settings, key=lambda s: np.mean(settings[s])) for key, settings in means.items()}


def pixel_figures(run: ManufacturingRun, split: Split, cell: Cell) -> dict[str, dict[str, float]]:
    """Pixel ROC AUC and per-region overlap of each score, over the test images with a mask; empty where none has."""
    config = run.config
    images = split.test.masked()
    if not images.is_anomalous.any():
        return {}

    def compute() -> dict[str, np.ndarray]:
        fitted = fit_cell(run, split, cell)
        maps: dict[str, list[np.ndarray]] = {}
        found = pixel_maps(config, fitted, images, stride=config.heat_map_stride)
        for terms in with_bar(found, len(images), f"heat maps of {cell.name}", visible=config.progress):
            for name, values in terms.items():
                maps.setdefault(name, []).append(values.astype(np.float32))
        truth = [images.mask(k) for k in range(len(images))]
        return {
            name: np.array([pixel_roc_auc(values, truth), per_region_overlap(values, truth)])
            for name, values in maps.items()
        }

    arrays = run.stage(f"pixels-{cell.name}", compute)
    return {name: {"pixel_auc": float(pair[0]), "aupro": float(pair[1])} for name, pair in arrays.items()}


def summarise(
    run: ManufacturingRun,
    data: FolderDataset,
    splits: Sequence[Split],
    scores: Scores,
    chosen: Chosen,
    pixels: Mapping[str, Sequence[Mapping[str, Mapping[str, float]]]],
) -> dict[str, Any]:
    """The content of `results.json`."""
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
            top = scores[Cell(model, setting, trial)].test[name]
            values, anomalous = image_scores(top, config.top_k), split.test.is_anomalous
            pair = values[~anomalous], values[anomalous]
            trials.append(
                {
                    "auc": roc_auc(*pair, bootstrap=config.bootstrap)._asdict(),
                    "average_precision": average_precision(*pair, bootstrap=config.bootstrap)._asdict(),
                    "auc_by_defect": {
                        label: roc_auc(pair[0], values[np.array(split.test.labels) == label], bootstrap=1).value
                        for label in sorted({*split.test.labels} - {GOOD})
                    },
                    "complexity_rho": explained_by_complexity(
                        pair[0], sizes[trial], bootstrap=config.bootstrap
                    ).rho._asdict(),
                    "auc_by_top_k": {str(k): auc(split.test, top, k) for k in (1, 2, 5, 10, 20)},
                    "validation_auc_by_top_k": {
                        str(k): auc(split.validation, scores[Cell(model, setting, trial)].validation[name], k)
                        for k in (1, 2, 5, 10, 20)
                    }
                    if len(split.validation)
                    else {},
                    **(pixels[model][trial].get(name, {}) if setting == chosen[model, headline(model)] else {}),
                }
            )
        best = on_test[model, name]
        rows.append(
            {
                "model": model,
                "score": name,
                "setting": dict(setting),
                "trials": trials,
                "paper_way": {
                    "setting": dict(best),
                    "auc": [
                        auc(split.test, scores[Cell(model, best, trial)].test[name], config.top_k)
                        for trial, split in enumerate(splits)
                    ],
                },
            }
        )
    return {
        "experiment": EXPERIMENT,
        "preset": config.preset,
        "seed": config.seed,
        "command": record["command"],
        "data": record["data"],
        "split": {
            "protocol": config.protocol,
            "trials": config.trials,
            **{kind: len(getattr(splits[0], kind)) for kind in Split._fields},
            "validation_anomalous": int(splits[0].validation.is_anomalous.sum()) if len(splits[0].validation) else 0,
            "test_anomalous": int(splits[0].test.is_anomalous.sum()),
            "images_by_trial": [{kind: len(getattr(split, kind)) for kind in Split._fields} for split in splits],
            "untested": sorted({*splits[0].validation.labels} - {*splits[0].test.labels}),
        },
        "rows": rows,
        "notes": run.notes,
        "timings": {name: round(seconds, 2) for name, seconds in run.timings.items()},
        "versions": record["versions"],
        "device": record["device"],
    }


def figures(run: ManufacturingRun, name: str, splits: Sequence[Split], scores: Scores, chosen: Chosen) -> list[Section]:
    """All figures of the page."""
    config = run.config
    drawn = Figures(run.directory / "figures")

    def pair(model: str, name: str) -> plots.NormalAndAnomalous:
        values = image_scores(scores[Cell(model, chosen[model, name], 0)].test[name], config.top_k)
        anomalous = splits[0].test.is_anomalous
        return values[~anomalous], values[anomalous]

    wanted = [
        ("vae", "m"),
        ("vae", "nelbo"),
        ("gmm", "m"),
        *((model, headline(model)) for model in ("ae", "forest", "svm")),
    ]
    pairs = {
        f"{LABELS[model]}{'' if name == 'score' or model == 'ae' else ', ' + NAMES[name]}": pair(model, name)
        for model, name in wanted
        if (model, name) in chosen
    }
    if pairs:
        best_on = "the validation images" if len(splits[0].validation) else "these same test images"
        drawn.add(
            "fig10_roc",
            "ROC curves (Fig. 10)",
            plots.roc_comparison(pairs, title=name),
            f"Each model in the setting that was best on {best_on}, trial 0. The higher a curve, the more "
            "anomalous images are found (true positive rate) for the same share of good ones rejected (false positive "
            "rate).",
        )
    shown = example(config, splits[0], scores, chosen)
    if shown is not None:
        drawn.add(
            "fig11_heat_maps",
            "Heat maps (Fig. 11)",
            heat_map_figure(run, splits[0], chosen, shown),
            f"Of the test images whose defect has a mask, the one whose score by {LABELS[config.models[0]]} is the "
            "median, and what each model makes of each pixel: brighter is more anomalous. Every map is on a scale "
            "of its own, on which the highest thousandth of the pixels is equally bright. A good map is bright "
            "where the mask is and nowhere else; one that measures complexity is bright wherever there is structure.",
        )
    for model in ("vae", "ae"):
        if model in config.models:
            cell = Cell(model, chosen[model, headline(model)], 0)
            records = run.training_records(cell.name)
            drawn.add(
                f"training_{model}",
                f"Training of the {LABELS[model]}",
                plots.training_curves(records, title=f"{LABELS[model]}, {page.describe_setting(dict(cell.setting))}"),
                "The objective and its terms, as means per crop, on training batches (with a sampled latent) and on "
                "crops of normal validation images, where there are any (at the posterior mean).",
            )
    return drawn.sections


def example(config: ManufacturingConfig, split: Split, scores: Scores, chosen: Chosen) -> int | None:
    """The test image of Fig. 11: the median, by the first model's score, of those whose defect has a mask."""
    masked = [k for k, file in enumerate(split.test.files) if file.label != GOOD and file.mask is not None]
    if not masked:
        return None
    model = config.models[0]
    top = scores[Cell(model, chosen[model, headline(model)], 0)].test[headline(model)]
    values = image_scores(top, config.top_k)[masked]
    return masked[int(np.argsort(values)[len(values) // 2])]


def heat_map_figure(run: ManufacturingRun, split: Split, chosen: Chosen, index: int) -> Any:
    """Fig. 11 for one test image."""
    config, image = run.config, split.test[index]
    maps: dict[str, np.ndarray] = {}
    for model in config.models:
        cell = Cell(model, chosen[model, headline(model)], 0)
        fitted = fit_cell(run, split, cell)
        [found] = pixel_maps(config, fitted, [image], stride=config.figure_stride)
        for name, values in found.items():
            maps[LABELS[model] if len(found) == 1 else f"{LABELS[model]}, {NAMES[name]}"] = values
        if model == "vae":
            [maps["VAE, |x - µ|"]] = absolute_error(fitted, image, config.figure_stride)
    return plots.heat_map_comparison(
        np.asarray(to_float(image)), split.test.mask(index), maps, title=split.test.files[index].path.name
    )


def absolute_error(scorer: Any, image: np.ndarray, stride: int) -> Iterator[np.ndarray]:
    """`|x - mu_x|` for each pixel, the mean over channels and over the patches that cover it."""

    def error(patches: np.ndarray) -> np.ndarray:
        return abs(np.asarray(to_float(patches)) - ju.reconstruct_images(scorer, patches)).mean(-1)

    patch = scorer.model.config.image_shape[:2]
    return average_patches(error, [image], patch=patch, stride=stride, patches_a_call=1024)


if __name__ == "__main__":
    runs.run_command(main)
