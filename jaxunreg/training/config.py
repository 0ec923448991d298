"""How a model is trained."""

import dataclasses
from typing import Literal

import numpy as np

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.signatures import check_fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is trained.

    The paper fixes Adam with 1e-3, 0.9, 0.999 and a weight decay of 1e-4 in PyTorch's sense: L2, added to the gradient
    before Adam. It does not say the rest.

    Attributes:
      steps: number of updates in all.
      batch_size: images an update. The images come in random order, each once an epoch. A batch may span two epochs, so
        no image is dropped for a ragged last batch.
      learning_rate: Adam's alpha at its highest.
      schedule: `cosine` decays to zero over `steps`; `constant` does not.
      warmup_steps: updates over which the learning rate rises linearly from zero.
      b1: Adam's beta_1.
      b2: Adam's beta_2.
      weight_decay: L2 coefficient, on all parameters.
      start: `random` weights, or `linear`: the best linear model that the network can express. It is about as good as
        tens of thousands of steps from random weights; see `jaxunreg.models.linear_start`. It needs a learning rate of
        3e-6 to 3e-5 with a warm-up. Otherwise training destroys it. With `linear_level`, the last few latent
        variables of a VAE's linear start tell how large the residual is, and sigma follows them.
      batch_statistics: the statistics by which batch normalisation normalises in training. `batch`: those of each
        batch, with running averages for scoring. `fixed`: those that a linear start has measured, in training and in
        scoring. The statistics of a batch vary by some percent. That noise hides reconstruction errors that are
        smaller.
      kl_weight: weight of D in the objective. With 1 it is the negative ELBO, with another weight that of a beta-VAE.
      kl_warmup_steps: updates over which the weight of D rises linearly from zero to `kl_weight`.
      steps_per_dispatch: updates in a call of the compiled program. Between calls the host sees the losses.
      evaluate_every: updates between two evaluations of the held-out images; the last step is always evaluated.
      checkpoint_every: updates between two checkpoints; the last step is always saved.
      keep_checkpoints: how many of the newest checkpoints stay on disk.
      images_on_device: keep all images in the device's memory. `auto`: do so if they take at most half of the free
        memory. The batches are the same.
      loader_threads: threads that read images and cut crops ahead of training, if the images do not stay on the device.
        With 0, a step reads its images when it starts. The batches are the same.

    Raises:
      ArgumentError: a field is out of its range.

    References:
      Kingma, D. P. and Ba, J. Adam: A Method for Stochastic Optimization. ICLR 2015.
      Higgins, I. et al. beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework. ICLR 2017.

    >>> TrainConfig(steps=0)
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got steps=0; expected at least 1
    """

    steps: int = 10_000
    batch_size: int = 128
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: int = 0
    b1: float = 0.9
    b2: float = 0.999
    weight_decay: float = 1e-4
    start: Literal["random", "linear", "linear_level"] = "random"
    batch_statistics: Literal["batch", "fixed"] = "batch"
    kl_weight: float = 1.0
    kl_warmup_steps: int = 0
    steps_per_dispatch: int = 20
    evaluate_every: int = 1_000
    checkpoint_every: int = 1_000
    keep_checkpoints: int = 2
    images_on_device: Literal["auto", "yes", "no"] = "auto"
    loader_threads: int = 4

    def __post_init__(self) -> None:
        check_fields(self)
        positive = (
            "steps",
            "batch_size",
            "steps_per_dispatch",
            "evaluate_every",
            "checkpoint_every",
            "keep_checkpoints",
        )
        not_negative = ("warmup_steps", "kl_warmup_steps", "loader_threads")
        for name, low in (*((name, 1) for name in positive), *((name, 0) for name in not_negative)):
            if getattr(self, name) < low:
                raise ArgumentError(argument(name, getattr(self, name)), f"at least {low}")
        if not (np.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ArgumentError(argument("learning_rate", self.learning_rate), "a finite value above zero")
        for name in ("weight_decay", "kl_weight"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ArgumentError(argument(name, getattr(self, name)), "a finite value of at least zero")
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise ArgumentError(argument(name, getattr(self, name)), "0 <= value < 1")
        for name, choices in (
            ("schedule", ("cosine", "constant")),
            ("start", ("random", "linear", "linear_level")),
            ("batch_statistics", ("batch", "fixed")),
            ("images_on_device", ("auto", "yes", "no")),
        ):
            if getattr(self, name) not in choices:
                raise ArgumentError(argument(name, getattr(self, name)), f"one of {list(choices)}")
        if self.batch_statistics == "fixed" and self.start == "random":
            raise ArgumentError(
                f"{argument('batch_statistics', 'fixed')} with {argument('start', self.start)}",
                f"{argument('start', 'linear')}, which measures them",
            )
        if self.warmup_steps >= self.steps:
            raise ArgumentError(
                f"{argument('warmup_steps', self.warmup_steps)} with {argument('steps', self.steps)}",
                "fewer warm-up steps than steps",
                f"lower {argument('warmup_steps')} too, e.g. to {self.steps // 10}",
            )
