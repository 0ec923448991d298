"""The public names of `jaxunreg`."""

from jaxunreg.decomposition import Decomposition, decompose_gaussian
from jaxunreg.errors import CheckpointError, JaxunregError, NonFiniteLossError
from jaxunreg.export.onnx import export_onnx
from jaxunreg.export.stablehlo import export_scorer
from jaxunreg.inspection.calibrating import calibrate_detector
from jaxunreg.inspection.config import DetectorConfig
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.fitting import fit_detector
from jaxunreg.inspection.verdict import ImageVerdict
from jaxunreg.models.autoencoder import Autoencoder, AutoencoderConfig
from jaxunreg.models.vae import VAE, VAEConfig
from jaxunreg.scoring.aggregation import image_score
from jaxunreg.scoring.batched import reconstruct_images, score_images
from jaxunreg.scoring.each import heat_map_each, score_each
from jaxunreg.scoring.scorer import Scorer, decompose, make_scorer
from jaxunreg.scoring.sharded import ShardedScorer, sharded_scorer
from jaxunreg.scoring.tiled import heat_map, score_image
from jaxunreg.sweep.loop import fit_sweep
from jaxunreg.sweep.members import Member, MemberGroup, group_members
from jaxunreg.sweep.result import SweepResult
from jaxunreg.training.config import TrainConfig
from jaxunreg.training.loop import fit
from jaxunreg.training.saved_model import load_model, save_model
from jaxunreg.training.state import TrainState

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
