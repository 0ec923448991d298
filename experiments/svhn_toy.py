"""The toy study of section V: VAE, AE, GMM and Isolation Forest on house-number digits with erased squares.

    python -m experiments.svhn_toy --preset quick     # minutes on two cores
    python -m experiments.svhn_toy --preset paper     # the full setting

Every field of `ToyConfig` is an option (`--help`). A run writes `runs/svhn_toy/<name>/` (configuration, metrics,
results, figures, `index.html`) and goes on where it stopped when it is started again under the same name.
"""

import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jax
import numpy as np

import jaxunreg as ju
from experiments import runs
from experiments.runs import Run, RunError, console
from experiments.toy_data import KINDS, Data, Scores, as_arrays, describe_data, load_toy_data, score, scores_of
from jaxunreg import plots
from jaxunreg.baselines import (
    GaussianMixture,
    GaussianMixtureConfig,
    IsolationForest,
    IsolationForestConfig,
    PCAResidual,
    PCAResidualConfig,
)
from jaxunreg.datasets.digits.erasing import EraseConfig
from jaxunreg.decomposition import LETTERS, TERMS
from jaxunreg.images import to_float
from jaxunreg.metrics.interval import Interval
from jaxunreg.metrics.png_complexity import explained_by_class
from jaxunreg.metrics.ranking import roc_auc
from jaxunreg.reports.figures import Figures
from jaxunreg.reports.page import write_page
from jaxunreg.reports.tables import Table

EXPERIMENT = "svhn_toy"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToyConfig:
    """Everything that a run of the toy study depends on.

    Attributes:
      preset: which set of defaults to start from; every other option overrides it.
      seed: seed of the networks and of everything that is drawn; erased squares and data have their own.
      dataset: `auto` takes SVHN where it is prepared or can be fetched, and otherwise the embedded digits, with a
        warning.
      data_dir: folder with a local copy of SVHN, the official `.mat` pair or an `.npz` pair.
      train_size: training images, all by default.
      test_size: test images, all by default.
      data_seed: seed of the embedded digits and of subsets.
      validation_size: training digits that are held out for the learning curves; never trained on.
      erase: the toy anomaly (section IV.A).
      vae: the VAE's network.
      vae_train: its training.
      ae: the autoencoder's network.
      ae_train: its training.
      gmm: the Gaussian mixture.
      pca: the residual of a principal component analysis.
      forest: the Isolation Forest.
      latent_dims: N_z of the VAEs of Fig. 9; empty leaves them out.
      latent_dims_steps: updates of each of them.
      gmm_components: numbers of components of the mixtures of Fig. 9; empty leaves them out.
      gmm_components_max_iter: most EM iterations of each of them.
      bootstrap: resamples of the test images behind each interval.
      runs_dir: folder of all runs.
      name: folder of this run in it; by default preset, data set and seed.
      progress: show progress bars.
    """

    preset: Literal["quick", "paper"] = "quick"
    seed: int = 0
    dataset: Literal["auto", "svhn", "synth_digits"] = "auto"
    data_dir: Path | None = None
    train_size: int | None = None
    test_size: int | None = None
    data_seed: int = 0
    validation_size: int = 1000
    erase: EraseConfig = EraseConfig()
    vae: ju.VAEConfig = ju.VAEConfig()
    vae_train: ju.TrainConfig = ju.TrainConfig()
    ae: ju.AutoencoderConfig = ju.AutoencoderConfig()
    ae_train: ju.TrainConfig = ju.TrainConfig()
    gmm: GaussianMixtureConfig = GaussianMixtureConfig()
    pca: PCAResidualConfig = PCAResidualConfig()
    forest: IsolationForestConfig = IsolationForestConfig()
    latent_dims: tuple[int, ...] = ()
    latent_dims_steps: int = 1000
    gmm_components: tuple[int, ...] = ()
    gmm_components_max_iter: int = 2
    bootstrap: int = 1000
    runs_dir: Path = Path("runs")
    name: str | None = None
    progress: bool = True

    @property
    def directory(self) -> Path:
        """Where the run's files go."""
        name = self.name or f"{self.preset}-{self.dataset}-seed{self.seed}"
        return self.runs_dir / "svhn_toy" / name


# From random weights 3,000 steps with Adam's 1e-3 end at a negative ELBO of -5,400 nats and a ROC AUC of M of 0.65. The
# linear start stands beyond that, and what it knows is lost at a rate above some 3e-5.
_recipe = functools.partial(ju.TrainConfig, learning_rate=3e-5, start="linear", batch_statistics="fixed")

PRESETS = {
    "quick": ToyConfig(
        preset="quick",
        train_size=20_000,
        test_size=2_000,
        vae=ju.VAEConfig(base_channels=16, latent_dim=256),
        vae_train=_recipe(steps=1_000, batch_size=64, warmup_steps=250, evaluate_every=250, checkpoint_every=250),
        ae=ju.AutoencoderConfig(base_channels=16, latent_dim=256),
        ae_train=_recipe(steps=250, batch_size=64, warmup_steps=50, evaluate_every=250, checkpoint_every=250),
        # Without PCA, which would drop the directions in which a square shows; EM is cut short instead.
        gmm=GaussianMixtureConfig(n_components=2, max_iter=2),
        pca=PCAResidualConfig(n_components=256),
        forest=IsolationForestConfig(n_trees=100, contamination=0.01),
        latent_dims=(16, 64, 256),
        latent_dims_steps=250,
        gmm_components=(1, 2),
    ),
    "paper": ToyConfig(
        preset="paper",
        vae=ju.VAEConfig(base_channels=32, latent_dim=500),
        vae_train=_recipe(
            steps=1_600, batch_size=64, learning_rate=3e-6, warmup_steps=300, evaluate_every=80, checkpoint_every=400
        ),
        ae=ju.AutoencoderConfig(base_channels=32, latent_dim=500),
        ae_train=_recipe(steps=1_000, warmup_steps=250, evaluate_every=250, checkpoint_every=250),
        # At 12,000 nats an image, and half a minute an iteration, the last tenths of a nat buy nothing.
        gmm=GaussianMixtureConfig(n_components=2, tol=0.1),
        pca=PCAResidualConfig(n_components=500),
        forest=IsolationForestConfig(n_trees=1_000, contamination=0.01),
        latent_dims=(5, 20, 100, 200, 500),
        latent_dims_steps=1_600,
        # EM costs some 12 processor seconds an iteration and component on 24,776 digits, and is cut short here.
        gmm_components=(1, 2, 5, 10, 20),
    ),
}


ToyRun: TypeAlias = Run[ToyConfig]


def main(args: list[str] | None = None) -> Path:
    """Run the study; returns the path of the page."""
    args = sys.argv[1:] if args is None else args
    config = parse(args)
    began = time.perf_counter()
    run = open_run(config, args)
    with run.removed_if_refused():
        data = load_data(run)

    vae, reconstructions = train_vae(run, data)
    models: dict[str, Scores] = {"vae": vae, "ae": train_ae(run, data)}
    mixture = fit_mixture(run, data, config.gmm)
    models["gmm"] = scores_of(mixture)
    models["pca"] = fit_pca(run, data)
    models["isolation_forest"] = fit_forest(run, data)
    sweep = {"vae": sweep_latent_dims(run, data, vae), "gmm": sweep_components(run, data)}

    results = summarise(run, data, models, sweep)
    results["timings"]["this_invocation"] = time.perf_counter() - began
    run.write_json("results.json", results)
    page = draw(run, data, models, reconstructions, mixture, results, args)
    console.print(f"results: {run.directory / 'results.json'}", markup=False)
    print(page)
    return page


def parse(args: list[str]) -> ToyConfig:
    """The config from the command line: the preset's, with the options put over it."""
    return runs.parse(PRESETS, args, experiment=EXPERIMENT, description=__doc__)


def open_run(config: ToyConfig, args: list[str]) -> ToyRun:
    """Make the run's folder, or go on in it if it holds the same run."""
    return runs.open_run(config.directory, config, args, experiment=EXPERIMENT)


def load_data(run: ToyRun) -> Data:
    """The toy data set, noted in the run's `config.json`."""
    data = load_toy_data(run.config)
    if len(data.normal) < SHOWN:
        raise RunError(f"got {len(data.normal)} test digits; expected at least {SHOWN}, as many as are shown")
    run.record_data(describe_data(data.dataset))
    return data


def train_network(run: ToyRun, data: Data, model: Any, train: ju.TrainConfig, name: str) -> ju.Scorer:
    """Train a VAE or an AE with its learning curve on the validation digits; at once where it was done before."""

    def validation_auc(variables: Any) -> dict[str, Any]:
        scores = score(ju.make_scorer(model, variables), data.validation, data.validation_erased)
        return {"auc": {key: roc_auc(*pair, bootstrap=1).value for key, pair in scores.items()}}

    state = ju.fit(
        model,
        data.train,
        train,
        key=jax.random.key(run.config.seed),
        held_out=data.validation,
        evaluate=validation_auc,
        directory=run.directory / "models" / name,
        progress=run.config.progress,
        description=name,
    )
    return ju.make_scorer(model, state.variables)


def train_vae(run: ToyRun, data: Data) -> tuple[Scores, dict[str, np.ndarray]]:
    """Scores of the VAE, and what it makes of the first test digits."""

    def compute() -> dict[str, np.ndarray]:
        scorer = train_network(run, data, ju.VAE(run.config.vae), run.config.vae_train, "vae")
        pairs = score(scorer, data.normal, data.anomalous.images)
        shown = {"normal": data.normal[:SHOWN], "anomalous": data.anomalous.images[:SHOWN]}
        maps = {}
        for kind, images in shown.items():
            _, likelihood = scorer.model.apply(scorer.variables, to_float(images))
            maps[f"mean_{kind}"] = np.asarray(likelihood.mean)
            maps[f"log_var_{kind}"] = np.asarray(likelihood.log_var)
        return {**as_arrays(pairs), **maps}

    arrays = run.stage("vae", compute)
    return scores_of(arrays), arrays


def train_ae(run: ToyRun, data: Data) -> Scores:
    """Scores of the autoencoder; it has L alone."""

    def compute() -> dict[str, np.ndarray]:
        scorer = train_network(run, data, ju.Autoencoder(run.config.ae), run.config.ae_train, "ae")
        pairs = score(scorer, data.normal, data.anomalous.images)
        return as_arrays({"nelbo": pairs["nelbo"]})

    return scores_of(run.stage("ae", compute))


def fit_mixture(run: ToyRun, data: Data, config: GaussianMixtureConfig) -> dict[str, np.ndarray]:
    """Scores of a Gaussian mixture and its reconstructions of the first test digits."""
    name = f"gmm-{config.n_components}"

    def compute() -> dict[str, np.ndarray]:
        with console.status(f"{name}: EM with {config.n_components} full covariances"):
            mixture = GaussianMixture(dataclasses.replace(config, seed=run.config.seed)).fit(data.train)
            normal, anomalous = mixture.scores(data.normal), mixture.scores(data.anomalous.images)
        run.notes[name] = mixture.diagnostics
        if not mixture.converged_:
            console.print(f"[yellow]{name} stopped before it converged, after {mixture.n_iter_} EM iterations")
        return {
            **as_arrays({key: (normal[key], anomalous[key]) for key in normal}),
            "mean_normal": mixture.reconstruct(data.normal[:SHOWN]),
            "mean_anomalous": mixture.reconstruct(data.anomalous.images[:SHOWN]),
        }

    return run.stage(name, compute)


def fit_pca(run: ToyRun, data: Data) -> Scores:
    """Scores of the residual of a principal component analysis."""

    def compute() -> dict[str, np.ndarray]:
        with console.status(f"PCA with {run.config.pca.n_components} components"):
            pca = PCAResidual(dataclasses.replace(run.config.pca, seed=run.config.seed)).fit(data.train)
            normal, anomalous = pca.scores(data.normal), pca.scores(data.anomalous.images)
        return as_arrays({"score": (normal["score"], anomalous["score"])})

    return scores_of(run.stage("pca", compute))


def fit_forest(run: ToyRun, data: Data) -> Scores:
    """Scores of the Isolation Forest."""

    def compute() -> dict[str, np.ndarray]:
        with console.status(f"Isolation Forest of {run.config.forest.n_trees} trees"):
            config = dataclasses.replace(run.config.forest, seed=run.config.seed)
            forest = IsolationForest(config).fit(data.train)
            normal, anomalous = forest.scores(data.normal), forest.scores(data.anomalous.images)
        return as_arrays({"score": (normal["score"], anomalous["score"])})

    return scores_of(run.stage("isolation_forest", compute))


def sweep_latent_dims(run: ToyRun, data: Data, table: Scores) -> dict[int, Scores]:
    """Scores of VAEs over the latent size (Fig. 9, top); the table's stands among them where it has as many steps."""
    sweep = {}
    for latent_dim in run.config.latent_dims:
        if (latent_dim, run.config.latent_dims_steps) == (run.config.vae.latent_dim, run.config.vae_train.steps):
            sweep[latent_dim] = table
            continue
        name = f"vae-latent-{latent_dim}"

        def compute(latent_dim: int = latent_dim, name: str = name) -> dict[str, np.ndarray]:
            model = ju.VAE(dataclasses.replace(run.config.vae, latent_dim=latent_dim))
            train = dataclasses.replace(
                run.config.vae_train,
                steps=run.config.latent_dims_steps,
                warmup_steps=min(run.config.vae_train.warmup_steps, run.config.latent_dims_steps // 2),
                kl_warmup_steps=min(run.config.vae_train.kl_warmup_steps, run.config.latent_dims_steps // 2),
                evaluate_every=run.config.latent_dims_steps,
            )
            return as_arrays(score(train_network(run, data, model, train, name), data.normal, data.anomalous.images))

        sweep[latent_dim] = scores_of(run.stage(name, compute))
    return sweep


def sweep_components(run: ToyRun, data: Data) -> dict[int, Scores]:
    """Scores of Gaussian mixtures over the number of components (Fig. 9, bottom); the table's stands among them."""
    table, most = run.config.gmm, min(run.config.gmm.max_iter, run.config.gmm_components_max_iter)
    return {
        count: scores_of(
            fit_mixture(
                run,
                data,
                table if count == table.n_components else dataclasses.replace(table, n_components=count, max_iter=most),
            )
        )
        for count in run.config.gmm_components
    }


SHOWN = 32
LABELS = {"vae": "VAE", "gmm": "GMM", "ae": "AE", "pca": "PCA residual", "isolation_forest": "Isolation Forest"}


def summarise(
    run: ToyRun, data: Data, models: Mapping[str, Scores], sweep: Mapping[str, Mapping[int, Scores]]
) -> dict[str, Any]:
    """`results.json`."""

    def auc(scores: Scores) -> dict[str, dict[str, float]]:
        return {
            key: roc_auc(*pair, paired=True, bootstrap=run.config.bootstrap)._asdict() for key, pair in scores.items()
        }

    record = run.record
    return {
        "experiment": "svhn_toy",
        "preset": run.config.preset,
        "seed": run.config.seed,
        "command": record["command"],
        "data": record["data"],
        "auc": {model: auc(scores) for model, scores in models.items()},
        "explained_by_class": {
            model: {key: explained_by_class(pair[0], data.labels) for key, pair in scores.items()}
            for model, scores in models.items()
        },
        "mean_nats": {
            model: {
                key: dict(zip(KINDS, (float(np.mean(part, dtype=np.float64)) for part in pair), strict=True))
                for key, pair in models[model].items()
            }
            for model in ("vae", "gmm")
        },
        "auc_by_latent_dim": {str(size): auc(scores) for size, scores in sweep["vae"].items()},
        "auc_by_components": {str(count): auc(scores) for count, scores in sweep["gmm"].items()},
        "latent_dims_steps": run.config.latent_dims_steps,
        "late_auc": late_auc(run.training_records("vae"), run.config.vae_train.steps),
        "notes": run.notes,
        "timings": {name: round(seconds, 2) for name, seconds in run.timings.items()},
        "versions": record["versions"],
        "device": record["device"],
    }


def late_auc(records: Sequence[Mapping[str, Any]], steps: int) -> dict[str, dict[str, float]]:
    """Lowest and highest ROC AUC of each score on the held-out digits over the last quarter of training.

    >>> late_auc([{"step": step, "auc": {"m": step / 100}} for step in (50, 80, 90)], steps=100)
    {'m': {'low': 0.8, 'high': 0.9, 'evaluations': 2}}
    """
    late = [record["auc"] for record in records if "auc" in record and 4 * record["step"] >= 3 * steps]
    return {
        key: {
            "low": min(auc[key] for auc in late),
            "high": max(auc[key] for auc in late),
            "evaluations": len(late),
        }
        for key in (late[-1] if late else ())
    }


def draw(
    run: ToyRun,
    data: Data,
    models: Mapping[str, Scores],
    vae: Mapping[str, np.ndarray],
    gmm: Mapping[str, np.ndarray],
    results: Mapping[str, Any],
    args: list[str],
) -> Path:
    """All figures, and the page that shows them."""
    config, name = run.config, data.dataset.name
    boxes = data.anomalous.boxes[:SHOWN]
    grid: dict[str, Any] = {"rows": 4, "columns": 8, "boxes": boxes, "box_size": config.erase.size}
    figures = Figures(run.directory / "figures")

    models_shown = {
        "VAE, M": models["vae"]["m"],
        "VAE, L": models["vae"]["nelbo"],
        "GMM, M": models["gmm"]["m"],
        "AE": models["ae"]["nelbo"],
        LABELS["pca"]: models["pca"]["score"],
        "Isolation Forest": models["isolation_forest"]["score"],
    }
    figures.add(
        "roc_all_models",
        "ROC curves of all models",
        plots.roc_comparison(models_shown, title=f"All models on {name}"),
        "The higher a curve, the more anomalies are found (true positive rate) for the same share of good digits "
        "rejected (false positive rate). The dashed diagonal is guessing.",
    )
    figures.add(
        "fig3_samples",
        "Samples (Fig. 3)",
        plots.sample_grid(data.normal[:SHOWN], data.anomalous.images[:SHOWN], title=f"Test samples of {name}", **grid),
        "The same test digits, left as they are and right with a gray square erased, outlined here.",
    )
    for file, model, title in (("fig5_vae", "vae", "VAE (Fig. 5)"), ("fig6_gmm", "gmm", "GMM (Fig. 6)")):
        figures.add(
            file,
            f"Scores of the {title}",
            plots.decomposition_figure(models[model], data.labels, title=f"{title.split()[0]} on {name}"),
            "ROC curves, and each score by digit, less its median over the normal samples. A good score lifts the red "
            "boxes (anomalous) over the blue ones (normal) and gives all digits the same blue box: where the blue "
            "boxes go up and down with the digit, the score measures complexity. "
            "The paper finds that A does and M does not.",
        )
    figures.add(
        "fig7_vae_reconstructions",
        "Reconstructions by the VAE (Fig. 7)",
        plots.sample_grid(
            vae["mean_normal"],
            vae["mean_anomalous"],
            title=f"Reconstructions (mean) by the VAE, {name}",
            **grid,
        ),
        "The mean of the likelihood for the samples of Fig. 3. The more of a digit comes back and the less of its "
        "square, the better.",
    )
    figures.add(
        "fig8_gmm_reconstructions",
        "Reconstructions by the GMM (Fig. 8)",
        plots.sample_grid(
            gmm["mean_normal"],
            gmm["mean_anomalous"],
            title=f"Reconstructions (mean) by the GMM, {name}",
            **grid,
        ),
        "The mean of the component that each sample of Fig. 3 most likely belongs to: there are only as many different "
        "ones as components.",
    )
    figures.add(
        "error_maps",
        "Where the VAE's terms come from",
        plots.error_maps(
            data.anomalous.images[:6],
            vae["mean_anomalous"][:6],
            vae["log_var_anomalous"][:6],
            title=f"Error, sigma, A and M by pixel, {name}",
            boxes=data.anomalous.boxes[:6],
            box_size=config.erase.size,
        ),
        "The error is large at every edge, and so is the sigma that the model expects there. M divides the one by the "
        "other, so that the edges sink and the square (outlined) stands out.",
    )
    panels = []
    for key, title, label in (
        (
            "auc_by_latent_dim",
            f"VAE, {config.latent_dims_steps:,} steps each",
            "dimension number $N_z$ of the latent space",
        ),
        ("auc_by_components", "GMM", "number $N_z$ of hidden classes"),
    ):
        sizes = sorted(results[key], key=int)
        if sizes:
            auc: dict[str, list[Interval]] = {s: [Interval(**results[key][size][s]) for size in sizes] for s in TERMS}
            panels.append(plots.SweepPanel(title, label, [int(size) for size in sizes], auc))
    if panels:
        figures.add(
            "fig9_auc_by_size",
            "AUC against the size of the model (Fig. 9)",
            plots.auc_sweep(panels, title=f"ROC AUC against model size, {name}"),
            "Above, VAEs over the latent size; below, mixtures over the number of components. Bars are 95 % bootstrap "
            f"intervals. The VAEs here are trained for {config.latent_dims_steps:,} steps each, the one in the table "
            f"for {config.vae_train.steps:,}.",
        )
    figures.add(
        "explained_by_class",
        "What the digit explains",
        plots.explained_by_class_bars(
            {LABELS[model]: values for model, values in results["explained_by_class"].items()},
            title=f"Normal test samples of {name}",
        ),
        "The share of the variance of the normal samples' score that lies between digits. A score that does not mind "
        "how complex a digit is has a short bar.",
    )
    for model in ("vae", "ae"):
        figures.add(
            f"training_{model}",
            f"Training of the {LABELS[model]}",
            plots.training_curves(run.training_records(model), title=f"{LABELS[model]} on {name}"),
            "The objective and its terms, as means per image, on training batches (with a sampled latent) and on "
            f"{config.validation_size:,} training digits that were held out (at the posterior mean), and the ROC AUC "
            "on those once with and once without a square.",
        )

    m, nelbo = results["auc"]["vae"]["m"]["value"], results["auc"]["vae"]["nelbo"]["value"]
    explained = results["explained_by_class"]["vae"]
    page = run.directory / "index.html"
    write_page(
        page,
        title="Toy study: erased squares on house numbers",
        subtitle=f"{name}, preset {config.preset}, seed {config.seed}",
        command=runs.command_line(EXPERIMENT, args),
        warning=data.dataset.fallback_reason if data.dataset.fell_back else None,
        summary=f"With the unregularized score M the VAE reaches a ROC AUC of {m:.3f}, with the negative ELBO L "
        f"{nelbo:.3f}. The digit explains {100 * explained['m']:.1f} % of the variance of M among normal samples, and "
        f"{100 * explained['nelbo']:.1f} % of that of L.",
        tables=tables(results),
        sections=figures.sections,
        details=details(data, results),
        config=run.record["config"],
    )
    return page


def tables(results: Mapping[str, Any]) -> list[Table]:
    """The numbers of the page."""
    header = ["model", *(LETTERS[term] for term in TERMS)]

    def row(model: str, values: Mapping[str, Any], cell: Callable[[Any], Any]) -> list[Any]:
        # The one score of the forest and of the PCA is of its own kind; it stands where the others have L.
        return [
            LABELS[model],
            *(cell(values[key]) if key in values else None for key in TERMS),
        ]

    def named(values: Mapping[str, Any]) -> dict[str, Any]:
        return {"nelbo": values["score"]} if "score" in values else dict(values)

    return [
        Table(
            "ROC AUC with its 95 % interval",
            header,
            [row(model, named(values), lambda cell: Interval(**cell)) for model, values in results["auc"].items()],
            note="Bootstrap over test digits, each with its normal and its anomalous copy. An autoencoder has its mean "
            "squared error, PCA and the Isolation Forest their one score in place of L.",
        ),
        Table(
            "Share of the normal samples' variance that the digit explains",
            header,
            [row(model, named(values), float) for model, values in results["explained_by_class"].items()],
            best="min",
            note="Between-class share of the variance (eta squared).",
        ),
        Table(
            "Mean score of normal and of anomalous test samples, nats an image",
            ["model", *(f"{LETTERS[term]}, {kind}" for term in TERMS for kind in KINDS)],
            [
                [LABELS[model], *(f"{values[key][kind]:,.1f}" for key in TERMS for kind in KINDS)]
                for model, values in results["mean_nats"].items()
            ],
            best=None,
        ),
        Table(
            "ROC AUC on the held-out digits at the end of training",
            ["model", *(f"{LETTERS[key]}, {end}" for key in results["late_auc"] for end in ("lowest", "highest"))],
            [[LABELS["vae"], *(float(auc[end]) for auc in results["late_auc"].values() for end in ("low", "high"))]],
            best=None,
            note="Over the evaluations of the last quarter of training.",
        ),
    ]


def details(data: Data, results: Mapping[str, Any]) -> dict[str, str]:
    """What else the page says of the run."""
    return {
        "data set": f"{data.dataset.name}: {data.dataset.source}",
        "training digits": f"{len(data.train):,}",
        "test digits": f"{len(data.normal):,}, each once normal and once anomalous",
        "SHA-256 of the data": data.dataset.fingerprint,
        "device": results["device"],
        "versions": ", ".join(f"{package} {number}" for package, number in results["versions"].items()),
        "seconds by stage": ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in results["timings"].items()),
        **{f"note on {stage}": json.dumps(note) for stage, note in results["notes"].items()},
    }


if __name__ == "__main__":
    runs.run_command(main)
