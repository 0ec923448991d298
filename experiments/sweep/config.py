"""The settings of the sweep and their presets."""

import dataclasses
from pathlib import Path
from typing import Literal, TypeAlias

import jaxunreg as ju
from jaxunreg.datasets.digits.erasing import EraseConfig
from jaxunreg.decomposition import Term
from jaxunreg.errors import ArgumentError, argument

from ..runs import Run

EXPERIMENT = "sweep"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Everything that a sweep depends on.

    Attributes:
      preset: the set of defaults to start from. Every other option overrides it.
      search: all combinations of the axes' values, or settings that Optuna draws at random or by TPE. TPE learns from
        the results of earlier settings.
      trials: number of settings that a search draws. Each is trained under every seed.
      generation: number of settings that it draws at a time. A generation trains together.
      search_seed: seed of the search.
      objective: the score whose mean AUC over seeds on the validation digits TPE maximises and the page ranks by.
      seeds: seeds of the networks. Every setting is trained under each.
      latent_dim: axis: N_z.
      base_channels: axis: N_c.
      depth: axis: layers of encoder and decoder.
      learning_rate: axis: Adam's alpha.
      weight_decay: axis: L2 coefficient.
      kl_weight: axis: weight of D in the objective.
      space: a TOML or JSON file with the axes, in place of options: `latent_dim = [20, 100]`, or for a search also
        ranges, `learning_rate = {low = 1e-4, high = 1e-2, log = true}`.
      dataset: `auto` takes SVHN if it is prepared or can be fetched. Otherwise it takes the embedded digits, with a
        warning.
      data_dir: folder with a local copy of SVHN, the official `.mat` pair or an `.npz` pair.
      train_size: training images, all by default.
      test_size: test images, all by default.
      data_seed: seed of the embedded digits and of subsets.
      validation_size: number of held-out training digits that rank the settings. They are never trained on.
      erase: the toy anomaly (section IV.A).
      vae: the network, unless an axis says otherwise.
      train: its training, unless an axis says otherwise.
      group_size: the most trials in a program. Lower it if the device's memory is too small.
      cluster: `ray` sends groups to the Ray cluster at `RAY_ADDRESS`, or starts a local cluster. Only the driver writes
        the table.
      cpus_per_group: processors that a group asks Ray for if the cluster has no accelerators. Otherwise it asks for one
        accelerator.
      attempts: how often a trial may be started if its worker dies. The last time it runs alone, so that it fails by
        itself.
      retry_failed: train failed trials again.
      checkpoints: keep checkpoints of a group while it trains, so that it goes on where it was killed. On a cluster,
        all machines must share the runs' folder.
      lease_seconds: another process takes over the trials of a process that is silent for this long.
      table: the table of trials; by default `trials.sqlite` in the run's folder. Sweeps may share one.
      csv: write the sweep's trials as `trials.csv` as well.
      runs_dir: folder of all runs.
      name: folder of this run below `runs_dir`; by default preset and data set.
      progress: show progress bars.
    """

    preset: Literal["quick", "paper"] = "quick"
    search: Literal["grid", "random", "tpe"] = "grid"
    trials: int = 20
    generation: int = 8
    search_seed: int = 0
    objective: Term = "m"
    seeds: tuple[int, ...] = (0, 1, 2)
    latent_dim: tuple[int, ...] = ()
    base_channels: tuple[int, ...] = ()
    depth: tuple[int, ...] = ()
    learning_rate: tuple[float, ...] = ()
    weight_decay: tuple[float, ...] = ()
    kl_weight: tuple[float, ...] = ()
    space: Path | None = None
    dataset: Literal["auto", "svhn", "synth_digits"] = "auto"
    data_dir: Path | None = None
    train_size: int | None = None
    test_size: int | None = None
    data_seed: int = 0
    validation_size: int = 1000
    erase: EraseConfig = EraseConfig()
    vae: ju.VAEConfig = ju.VAEConfig()
    train: ju.TrainConfig = ju.TrainConfig()
    group_size: int = 16
    cluster: Literal["none", "ray"] = "none"
    cpus_per_group: int = 1
    attempts: int = 5
    retry_failed: bool = False
    checkpoints: bool = True
    lease_seconds: float = 60.0
    table: Path | None = None
    csv: bool = False
    runs_dir: Path = Path("runs")
    name: str | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        for name in ("group_size", "cpus_per_group", "attempts"):
            if getattr(self, name) < 1:
                raise ArgumentError(argument(name, getattr(self, name)), "at least 1")

    @property
    def directory(self) -> Path:
        """The folder for the run's files."""
        return self.runs_dir / EXPERIMENT / (self.name or f"{self.preset}-{self.dataset}")


PRESETS = {
    "quick": SweepConfig(
        preset="quick",
        train_size=10_000,
        test_size=2_000,
        latent_dim=(4, 16, 64),
        seeds=(0, 1, 2),
        vae=ju.VAEConfig(base_channels=8, latent_dim=64),
        train=ju.TrainConfig(steps=1_000, batch_size=64, evaluate_every=500, checkpoint_every=250),
    ),
    "paper": SweepConfig(
        preset="paper",
        latent_dim=(5, 20, 100, 500),
        seeds=(0, 1, 2, 3, 4),
        vae=ju.VAEConfig(base_channels=32, latent_dim=500),
        train=ju.TrainConfig(steps=3_000, evaluate_every=1_000, checkpoint_every=250),
    ),
}

BASE = ("dataset", "data_dir", "train_size", "test_size", "data_seed", "validation_size", "erase", "vae", "train")
"""Settings that all trials of a run share. The others may change when it is started again."""

SweepRun: TypeAlias = Run[SweepConfig]
