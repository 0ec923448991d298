"""The models of the study. Each is trained and scores the test digits, or is read back."""

import dataclasses
from typing import Any

import jax
import numpy as np

import jaxunreg as ju
from jaxunreg.baselines import GaussianMixture, GaussianMixtureConfig, IsolationForest, PCAResidual
from jaxunreg.images import to_float

from ..commands import console
from ..toy_data import Data
from ..toy_scores import Scores, as_arrays, aucs, score, scores_of
from .config import SHOWN, ToyRun


def train_network(run: ToyRun, data: Data, model: Any, train: ju.TrainConfig, name: str) -> ju.Scorer:
    """Train a VAE or an AE with its learning curve on the validation digits, or read it back."""

    def validation_auc(variables: Any) -> dict[str, Any]:
        return {"auc": aucs(score(ju.make_scorer(model, variables), data.validation, data.validation_erased))}

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
    """Return scores of the VAE, and its results for the first test digits."""

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
    """Return scores of the autoencoder, which has only L."""

    def compute() -> dict[str, np.ndarray]:
        scorer = train_network(run, data, ju.Autoencoder(run.config.ae), run.config.ae_train, "ae")
        pairs = score(scorer, data.normal, data.anomalous.images)
        return as_arrays({"nelbo": pairs["nelbo"]})

    return scores_of(run.stage("ae", compute))


def fit_mixture(run: ToyRun, data: Data, config: GaussianMixtureConfig) -> dict[str, np.ndarray]:
    """Return scores of a Gaussian mixture and its reconstructions of the first test digits."""
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
    """Return scores of the residual of a principal component analysis."""

    def compute() -> dict[str, np.ndarray]:
        with console.status(f"PCA with {run.config.pca.n_components} components"):
            pca = PCAResidual(dataclasses.replace(run.config.pca, seed=run.config.seed)).fit(data.train)
            normal, anomalous = pca.scores(data.normal), pca.scores(data.anomalous.images)
        return as_arrays({"score": (normal["score"], anomalous["score"])})

    return scores_of(run.stage("pca", compute))


def fit_forest(run: ToyRun, data: Data) -> Scores:
    """Return scores of the Isolation Forest."""

    def compute() -> dict[str, np.ndarray]:
        with console.status(f"Isolation Forest of {run.config.forest.n_trees} trees"):
            config = dataclasses.replace(run.config.forest, seed=run.config.seed)
            forest = IsolationForest(config).fit(data.train)
            normal, anomalous = forest.scores(data.normal), forest.scores(data.anomalous.images)
        return as_arrays({"score": (normal["score"], anomalous["score"])})

    return scores_of(run.stage("isolation_forest", compute))


def sweep_latent_dims(run: ToyRun, data: Data, table: Scores) -> dict[int, Scores]:
    """Return scores of VAEs over the latent size (Fig. 9, top), with the table's VAE if it has as many steps."""
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
    """Return scores of mixtures over the number of components (Fig. 9, bottom), with the table's mixture."""
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
