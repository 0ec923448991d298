"""Unsupervised image anomaly detection with the unregularized score of a variational autoencoder."""

from jaxunreg.autoencoder import Autoencoder, AutoencoderConfig
from jaxunreg.checkpoint import CheckpointError, load_model, save_model
from jaxunreg.decomposition import Decomposition, decompose_gaussian
from jaxunreg.scoring import (
    Scorer,
    decompose,
    heat_map,
    image_score,
    make_scorer,
    reconstruct_images,
    score_image,
    score_images,
)
from jaxunreg.sweep import Member, MemberGroup, SweepResult, fit_sweep, group_members
from jaxunreg.training import NonFiniteLossError, TrainConfig, TrainState, fit
from jaxunreg.vae import VAE, VAEConfig

__version__ = "0.1.0"

__all__ = [
    "VAE",
    "Autoencoder",
    "AutoencoderConfig",
    "CheckpointError",
    "Decomposition",
    "Member",
    "MemberGroup",
    "NonFiniteLossError",
    "Scorer",
    "SweepResult",
    "TrainConfig",
    "TrainState",
    "VAEConfig",
    "decompose",
    "decompose_gaussian",
    "fit",
    "fit_sweep",
    "group_members",
    "heat_map",
    "image_score",
    "load_model",
    "make_scorer",
    "reconstruct_images",
    "save_model",
    "score_image",
    "score_images",
]
