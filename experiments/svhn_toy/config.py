"""The settings of the toy study and their presets."""

import dataclasses
import functools
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import jaxunreg as ju
from jaxunreg.baselines import GaussianMixtureConfig, IsolationForestConfig, PCAResidualConfig
from jaxunreg.datasets.digits.erasing import EraseConfig

from ..runs import Run

EXPERIMENT = "svhn_toy"

LABELS = {"vae": "VAE", "gmm": "GMM", "ae": "AE", "pca": "PCA residual", "isolation_forest": "Isolation Forest"}
"""Names of the models for people."""

OtherModel: TypeAlias = Literal["ae", "gmm", "pca", "isolation_forest"]

SHOWN = 32
"""Number of test digits in the figures."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToyConfig:
    """Everything that a run of the toy study depends on.

    Attributes:
      preset: the set of defaults to start from. Every other option overrides it.
      seed: seed of the networks and of all random draws. Erased squares and data have their own seeds.
      dataset: `auto` takes SVHN if it is prepared or can be fetched. Otherwise it takes the embedded digits, with a
        warning.
      data_dir: folder with a local copy of SVHN, the official `.mat` pair or an `.npz` pair.
      train_size: training images, all by default.
      test_size: test images, all by default.
      data_seed: seed of the embedded digits and of subsets.
      validation_size: number of training digits that are held out for the learning curves and never trained on.
      erase: the toy anomaly (section IV.A).
      models: the models beside the VAE; none if empty.
      vae: the VAE's network.
      vae_train: its training.
      ae: the autoencoder's network.
      ae_train: its training.
      gmm: the Gaussian mixture.
      pca: the residual of a principal component analysis.
      forest: the Isolation Forest.
      latent_dims: N_z of the VAEs of Fig. 9; none if empty.
      latent_dims_steps: updates of each of them.
      gmm_components: numbers of components of the mixtures of Fig. 9; none if empty.
      gmm_components_max_iter: most EM iterations of each of them.
      bootstrap: resamples of the test images behind each interval.
      runs_dir: folder of all runs.
      name: folder of this run below `runs_dir`; by default preset, data set and seed.
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
    models: tuple[OtherModel, ...] = get_args(OtherModel)
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
        """The folder for the run's files."""
        name = self.name or f"{self.preset}-{self.dataset}-seed{self.seed}"
        return self.runs_dir / EXPERIMENT / name


# From random weights, 3,000 steps with Adam's 1e-3 end at a negative ELBO of -5,400 nats and a ROC AUC of M of 0.65.
# The linear start is better than that, and a learning rate above about 3e-5 destroys it.
_recipe = functools.partial(ju.TrainConfig, learning_rate=3e-5, start="linear", batch_statistics="fixed")

PRESETS = {
    "quick": ToyConfig(
        preset="quick",
        train_size=20_000,
        test_size=2_000,
        # On held-out training digits M is 0.80 after 1,000 steps of 64 digits with 256 latent variables, and 0.86 after
        # 2,000 of 32 with 384. 500 steps more bring 0.01.
        vae=ju.VAEConfig(base_channels=16, latent_dim=384),
        vae_train=_recipe(steps=2_000, batch_size=32, warmup_steps=500, evaluate_every=500, checkpoint_every=500),
        ae=ju.AutoencoderConfig(base_channels=16, latent_dim=384),
        ae_train=_recipe(steps=250, batch_size=32, warmup_steps=50, evaluate_every=250, checkpoint_every=250),
        # Without PCA, which would drop the directions in which a square shows. EM is cut short instead.
        gmm=GaussianMixtureConfig(n_components=2, max_iter=2),
        pca=PCAResidualConfig(n_components=384),
        forest=IsolationForestConfig(n_trees=100, contamination=0.01),
        latent_dims=(16, 64, 384),
        latent_dims_steps=250,
        gmm_components=(1, 2),
    ),
    "paper": ToyConfig(
        preset="paper",
        vae=ju.VAEConfig(base_channels=32, latent_dim=1000),
        vae_train=_recipe(
            steps=100,
            batch_size=64,
            learning_rate=1e-6,
            warmup_steps=20,
            start="linear_level",
            evaluate_every=10,
            checkpoint_every=50,
        ),
        ae=ju.AutoencoderConfig(base_channels=32, latent_dim=500),
        ae_train=_recipe(steps=1_000, warmup_steps=250, evaluate_every=250, checkpoint_every=250),
        # At 12,000 nats an image and half a minute an iteration, the last tenths of a nat are not worth it.
        gmm=GaussianMixtureConfig(n_components=2, tol=0.1),
        pca=PCAResidualConfig(n_components=500),
        forest=IsolationForestConfig(n_trees=1_000, contamination=0.01),
        latent_dims=(5, 20, 100, 200, 500, 1000, 2000),
        latent_dims_steps=100,
        # EM takes about 12 processor seconds an iteration and component on 24,776 digits, and is cut short here.
        gmm_components=(1, 2, 5, 10, 20),
    ),
}

ToyRun: TypeAlias = Run[ToyConfig]
