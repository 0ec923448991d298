"""Training: batches, the compiled step, and the loop with its log, evaluations and checkpoints."""

from jaxunreg.training.config import TrainConfig
from jaxunreg.training.crops import random_crops
from jaxunreg.training.loop import fit
from jaxunreg.training.optimizer import make_optimizer
from jaxunreg.training.saved_model import load_model, save_model
from jaxunreg.training.state import StepMetrics, TrainState, init_state, starting_state
from jaxunreg.training.step import train_step

__all__ = [
    "StepMetrics",
    "TrainConfig",
    "TrainState",
    "fit",
    "init_state",
    "load_model",
    "make_optimizer",
    "random_crops",
    "save_model",
    "starting_state",
    "train_step",
]
