"""Unsupervised image anomaly detection with the unregularized score of a variational autoencoder."""

from jaxunreg.autoencoder import Autoencoder, AutoencoderConfig
from jaxunreg.checkpoint import CheckpointError, load_model, save_model
from jaxunreg.decomposition import Decomposition, decompose_gaussian
from jaxunreg.detector import AnomalyDetector, ImageVerdict, calibrate_detector
from jaxunreg.export import export_onnx, export_scorer
from jaxunreg.fitting import DetectorConfig, fit_detector
from jaxunreg.parallel import ShardedScorer, sharded_scorer
from jaxunreg.scoring import (
    Scorer,
    decompose,
    heat_map,
    heat_map_each,
    image_score,
    make_scorer,
    reconstruct_images,
    score_each,
    score_image,
    score_images,
)
from jaxunreg.sweep import Member, MemberGroup, SweepResult, fit_sweep, group_members
from jaxunreg.training import NonFiniteLossError, TrainConfig, TrainState, fit
from jaxunreg.vae import VAE, VAEConfig

__version__ = "0.1.0"

__all__ = [
    "VAE",
    "AnomalyDetector",
    "Autoencoder",
    "AutoencoderConfig",
    "CheckpointError",
    "Decomposition",
    "DetectorConfig",
    "ImageVerdict",
    "Member",
    "MemberGroup",
    "NonFiniteLossError",
    "Scorer",
    "ShardedScorer",
    "SweepResult",
    "TrainConfig",
    "TrainState",
    "VAEConfig",
    "calibrate_detector",
    "decompose",
    "decompose_gaussian",
    "export_onnx",
    "export_scorer",
    "fit",
    "fit_detector",
    "fit_sweep",
    "group_members",
    "heat_map",
    "heat_map_each",
    "image_score",
    "load_model",
    "make_scorer",
    "reconstruct_images",
    "save_model",
    "score_each",
    "score_image",
    "score_images",
    "sharded_scorer",
]
