"""Training a model in one setting on the images of one trial."""

import dataclasses
from typing import Any, assert_never

import jax

import jaxunreg as ju
from jaxunreg.baselines import (
    Baseline,
    GaussianMixture,
    IsolationForest,
    OneClassSVM,
    PCAResidual,
    PCAResidualConfig,
)
from jaxunreg.training.crops import random_crops

from .config import ManufacturingConfig, ManufacturingRun
from .fitted import Fitted, FittedBaseline, FittedNetwork
from .models import MODELS, Candidate
from .splits import Split


def fit(run: ManufacturingRun, split: Split, candidate: Candidate) -> Fitted:
    """Train a candidate, or read it back. The models of scikit-learn are fitted again, with the same result."""
    if candidate.model in ("vae", "ae"):
        return fit_network(run, split, candidate)
    return _fit_baseline(run.config, split, candidate)


def fit_network(run: ManufacturingRun, split: Split, candidate: Candidate) -> FittedNetwork:
    """Train a VAE or an AE on random crops, with the curve of its objective on crops of the calibration images."""
    config, setting = run.config, dict(candidate.setting)
    shape = (config.patch, config.patch)
    sizes: dict[str, Any] = {
        "image_shape": (*shape, split.train.channels),
        "depth": config.depth,
        "base_channels": int(setting["N_c"]),
        "latent_dim": int(setting["N_z"]),
    }
    if candidate.model == "vae":
        model: Any = ju.VAE(dataclasses.replace(config.vae, **sizes))
        train = config.vae_train
    else:
        model, train = ju.Autoencoder(ju.AutoencoderConfig(**sizes)), config.ae_train
    held = random_crops(jax.random.key(config.seed), split.calibration, shape, per_image=2)
    state = ju.fit(
        model,
        split.train,
        train,
        key=_key(config, candidate),
        held_out=held,
        directory=run.directory / "models" / candidate.name,
        progress=config.progress,
        description=candidate.name,
    )
    return FittedNetwork(ju.make_scorer(model, state.variables), MODELS[candidate.model].scores)


def _fit_baseline(config: ManufacturingConfig, split: Split, candidate: Candidate) -> FittedBaseline:
    shape = (config.patch, config.patch)
    crops = random_crops(_key(config, candidate), split.train, shape, per_image=config.patches_per_image)
    return FittedBaseline(_baseline(config, candidate).fit(crops), MODELS[candidate.model].scores, shape)


def _baseline(config: ManufacturingConfig, candidate: Candidate) -> Baseline:
    setting, seed = dict(candidate.setting), config.seed + candidate.trial
    match candidate.model:
        case "gmm":
            components, features = int(setting["N_z"]), int(setting["N_h"])
            return GaussianMixture(
                dataclasses.replace(config.gmm, n_components=components, pca_components=features, seed=seed)
            )
        case "pca":
            return PCAResidual(PCAResidualConfig(n_components=int(setting["N_h"]), seed=seed))
        case "forest":
            return IsolationForest(dataclasses.replace(config.forest, seed=seed))
        case "svm":
            return OneClassSVM(dataclasses.replace(config.svm, nu=float(setting["nu"]), seed=seed))
        case "vae" | "ae":
            raise AssertionError("networks are trained by fit_network")
        case never:
            assert_never(never)


def _key(config: ManufacturingConfig, candidate: Candidate) -> jax.Array:
    return jax.random.fold_in(jax.random.key(config.seed), candidate.trial)
