"""The public names of `jaxunreg`, each imported when it is first asked for (SPEC 1 of Scientific Python)."""

from . import (
    adapters,
    baselines,
    datasets,
    export,
    inspection,
    metrics,
    models,
    parallel,
    plots,
    reports,
    scoring,
    sweep,
    training,
)
from .decomposition import Decomposition, decompose_gaussian
from .errors import CheckpointError, JaxunregError, NonFiniteLossError
from .export.detector_export import export_detector
from .export.onnx import export_onnx
from .export.stablehlo import export_scorer
from .inspection.calibrating import calibrate_detector
from .inspection.config import DetectorConfig
from .inspection.detector import AnomalyDetector
from .inspection.fitting import fit_detector
from .inspection.verdict import ImageVerdict
from .models.autoencoder import Autoencoder, AutoencoderConfig
from .models.vae import VAE, VAEConfig
from .scoring.aggregation import image_score
from .scoring.batched import reconstruct_images, score_images
from .scoring.each import heat_map_each, score_each
from .scoring.scorer import Scorer, decompose, make_scorer
from .scoring.sharded import ShardedScorer, sharded_scorer
from .scoring.tiled import heat_map, score_image
from .sweep.loop import fit_sweep
from .sweep.members import Member, MemberGroup, group_members
from .sweep.result import SweepResult
from .training.config import TrainConfig
from .training.loop import fit
from .training.saved_model import load_model, save_model
from .training.state import TrainState

__all__ = [
    "VAE",
    "AnomalyDetector",
    "Autoencoder",
    "AutoencoderConfig",
    "CheckpointError",
    "Decomposition",
    "DetectorConfig",
    "ImageVerdict",
    "JaxunregError",
    "Member",
    "MemberGroup",
    "NonFiniteLossError",
    "Scorer",
    "ShardedScorer",
    "SweepResult",
    "TrainConfig",
    "TrainState",
    "VAEConfig",
    "adapters",
    "baselines",
    "calibrate_detector",
    "datasets",
    "decompose",
    "decompose_gaussian",
    "export",
    "export_detector",
    "export_onnx",
    "export_scorer",
    "fit",
    "fit_detector",
    "fit_sweep",
    "group_members",
    "heat_map",
    "heat_map_each",
    "image_score",
    "inspection",
    "load_model",
    "make_scorer",
    "metrics",
    "models",
    "parallel",
    "plots",
    "reconstruct_images",
    "reports",
    "save_model",
    "score_each",
    "score_image",
    "score_images",
    "scoring",
    "sharded_scorer",
    "sweep",
    "training",
]

__version__: str
