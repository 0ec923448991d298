"""How a detector is made of normal images."""

from dataclasses import dataclass

from jaxunreg.decomposition import Term
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.inspection.calibration import images_needed
from jaxunreg.inspection.checks import check_scoring
from jaxunreg.models.vae import VAE, VAEConfig
from jaxunreg.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """How a detector is made of a folder of normal images.

    Attributes:
      patch: height and width of the crops that the model is trained on and of the patches that are scored, in pixels;
        a multiple of 2**depth. No image may be smaller.
      depth: convolution layers of the encoder and of the decoder.
      base_channels: channels of the first feature map. Half of them train about three times as fast.
      latent_dim: dimensions of the latent space.
      stride: pixels from one scored patch to the next. Half of it takes four times as long.
      term: the score. m is the unregularized score; nelbo is the sum of d, a and m.
      top_k: an image's score is the mean of this many of its most anomalous patches.
      calibration_fraction: share of the normal parts that are held out from training and set the threshold.
      false_positive_rate: share of normal images that may be called anomalous. 0.05 needs 19 held-out parts, 0.01
        needs 99.
      seed: of the choice of the held-out parts, the initial weights, the crops and the noise.
      train: how the model is trained.

    Raises:
      ArgumentError: a field is out of its range.

    >>> DetectorConfig(patch=100)
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got patch=100 with depth=5; expected a multiple of 2**5 = 32, e.g. 96; change patch,
    or lower depth
    """

    patch: int = 96
    depth: int = 5
    base_channels: int = 32
    latent_dim: int = 50
    stride: int = 16
    term: Term = "m"
    top_k: int = 1
    calibration_fraction: float = 0.25
    false_positive_rate: float = 0.05
    seed: int = 0
    train: TrainConfig = TrainConfig(
        steps=1_000,
        batch_size=64,
        learning_rate=3e-5,
        warmup_steps=100,
        start="linear",
        batch_statistics="fixed",
        checkpoint_every=200,
    )

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise ArgumentError(argument("depth", self.depth), "at least 1", f"raise {argument('depth')}")
        step = 2**self.depth
        if self.patch < 1 or self.patch % step:
            nearest = max(1, round(self.patch / step)) * step
            raise ArgumentError(
                f"{argument('patch', self.patch)} with {argument('depth', self.depth)}",
                f"a multiple of 2**{self.depth} = {step}, e.g. {nearest}",
                f"change {argument('patch')}, or lower {argument('depth')}",
            )
        self.model(channels=1)
        check_scoring(self.term, self.stride, self.patch, self.top_k)
        if not 0.0 < self.calibration_fraction < 1.0:
            raise ArgumentError(
                argument("calibration_fraction", self.calibration_fraction),
                "a number between 0 and 1, e.g. 0.25",
                f"change {argument('calibration_fraction')}",
            )
        images_needed(self.false_positive_rate)
        if not -(2**63) <= self.seed < 2**63:
            raise ArgumentError(
                argument("seed", self.seed), "an integer of 64 bits, -2**63 to 2**63 - 1", f"change {argument('seed')}"
            )

    def model(self, channels: int) -> VAE:
        """The network for gray (1) or RGB (3) images."""
        return VAE(
            VAEConfig(
                image_shape=(self.patch, self.patch, channels),
                depth=self.depth,
                base_channels=self.base_channels,
                latent_dim=self.latent_dim,
            )
        )
