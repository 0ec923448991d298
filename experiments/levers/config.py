"""The settings of the study of levers and their presets."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import jaxunreg as ju
from jaxunreg.datasets.digits.erasing import EraseConfig
from jaxunreg.errors import ArgumentError, argument

from ..runs import Run
from ..svhn_toy.config import PRESETS as TOY_PRESETS

EXPERIMENT = "levers"

LeverName: TypeAlias = Literal[
    "recipe",
    "start",
    "random",
    "random_fast",
    "batch_statistics",
    "rate_low",
    "rate_high",
    "rate_far",
    "warmup",
    "small_batch",
    "large_batch",
    "floor",
    "kl_warmup",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeversConfig:
    """Everything that a run depends on.

    Attributes:
      preset: the set of defaults to start from. Every other option overrides it.
      seed: seed of the networks and of all random draws in training.
      dataset: `auto` takes SVHN if it is prepared or can be fetched. Otherwise it takes the embedded digits, with a
        warning.
      data_dir: folder with a local copy of SVHN, the official `.mat` pair or an `.npz` pair.
      train_size: training images, all by default.
      test_size: test images. The study does not use them.
      data_seed: seed of the embedded digits and of subsets.
      validation_size: number of held-out training digits. Every number is measured on them.
      erase: the toy anomaly.
      vae: the VAE's network.
      train: the recipe.
      levers: the rows to run.
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
    validation_size: int = 2000
    erase: EraseConfig = EraseConfig()
    vae: ju.VAEConfig = ju.VAEConfig()
    train: ju.TrainConfig = ju.TrainConfig()
    levers: tuple[LeverName, ...] = get_args(LeverName)
    runs_dir: Path = Path("runs")
    name: str | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        if not self.levers:
            raise ArgumentError("no levers", "at least one", f"give {argument('levers')}", field="levers")

    @property
    def directory(self) -> Path:
        """The folder for the run's files."""
        return self.runs_dir / EXPERIMENT / (self.name or f"{self.preset}-{self.dataset}-seed{self.seed}")


def _preset(name: Literal["quick", "paper"], train: Mapping[str, Any], latent_dim: int, **rest: Any) -> LeversConfig:
    toy, quarter = TOY_PRESETS[name], train["steps"] // 4
    changed = dataclasses.replace(
        toy.vae_train, **train, start="linear", evaluate_every=quarter, checkpoint_every=quarter
    )
    vae = dataclasses.replace(toy.vae, latent_dim=latent_dim)
    return LeversConfig(preset=name, vae=vae, train=changed, **rest)


PRESETS = {
    "quick": _preset(
        "quick",
        {"steps": 200, "batch_size": 64, "warmup_steps": 50},
        latent_dim=256,
        train_size=6_000,
        test_size=1_000,
        validation_size=1_000,
    ),
    # The toy study's own recipe now has the lower rate together with the smaller batches, more steps, more latent
    # dimensions, and a level.
    "paper": _preset(
        "paper", {"steps": 400, "batch_size": 128, "learning_rate": 1e-5, "warmup_steps": 150}, latent_dim=500
    ),
}

LeversRun: TypeAlias = Run[LeversConfig]
