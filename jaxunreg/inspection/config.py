"""The settings for making a detector of normal images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_args

from jaxunreg.decomposition import Term
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.inspection.calibration import images_needed
from jaxunreg.inspection.checks import check_review, check_scoring
from jaxunreg.models.vae import VAE, VAEConfig
from jaxunreg.scoring.map_scorer import Space
from jaxunreg.scoring.patches import check_stride
from jaxunreg.scoring.working_size import SMALLEST_IMAGE
from jaxunreg.signatures import check_fields
from jaxunreg.training.config import TrainConfig

MOST_RESOLUTION = 4096

_OF_ONE_SPACE: Mapping[str, Space] = {
    "resolution": "features",
    **dict.fromkeys(("patch", "depth", "base_channels", "latent_dim", "stride", "train"), "pixels"),
}

_DEEPEST = 16


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """The settings for making a detector of a folder of normal images.

    Attributes:
      space: what is learned. features: a pretrained network's features, by a Gaussian; seconds to minutes. pixels: the
        paper's VAE, trained on random crops; minutes to hours.
      resolution: images are resized to about resolution**2 pixels, with the aspect ratio of the data set. The default
        is 384, and smaller images are not enlarged. Raise it if the smallest defect is less than about 8 pixels wide in
        the resized image. Twice the resolution takes four times as long. From about 1,220 on, a covariance for each
        place would take more than 2 GiB, so all places share one. For features only.
      patch: height and width of the crops in training and of the scored patches, in pixels; a multiple of 2**depth. No
        image may be smaller. This option, the next four, and training are for pixels only.
      depth: convolution layers of the encoder and of the decoder.
      base_channels: channels of the first feature map. Half as many train about three times as fast.
      latent_dim: dimensions of the latent space.
      stride: pixels from one scored patch to the next. Half the stride takes four times as long.
      term: the score. m is the unregularized score; nelbo is the sum of d, a and m.
      top_k: an image's score is the mean of this many of its most anomalous places (features) or patches (pixels). The
        default is one in fifty places for features, because a defect covers several, and 1 patch for pixels.
      calibration_fraction: share of the normal parts that is held out from training to set the threshold.
      false_positive_rate: share of normal images that may be called anomalous. 0.05 needs 19 held-out parts, 0.01
        needs 99.
      review_rate: share of normal images that a person may be asked to look at. With it, verdicts are pass, review and
        reject. By default there is no review.
      seed: seed of the choice of the held-out parts, the initial weights, the crops and the noise.
      train: how the model is trained.

    Raises:
      ArgumentError: a field is out of its range, or belongs to the other space and is not its default.

    >>> DetectorConfig(patch=64)
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got patch=64, which belongs to the space of pixels; expected space='pixels' with it;
    add space='pixels', or leave patch out
    >>> DetectorConfig(space="pixels", patch=100)
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got patch=100 with depth=5; expected a multiple of 2**5 = 32, e.g. 96; change patch,
    or lower depth
    """

    space: Space = "features"
    resolution: int | None = None
    patch: int = 96
    depth: int = 5
    base_channels: int = 32
    latent_dim: int = 50
    stride: int = 16
    term: Term = "m"
    top_k: int | None = None
    calibration_fraction: float = 0.25
    false_positive_rate: float = 0.05
    review_rate: float | None = None
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
        check_fields(self)
        if self.space not in get_args(Space):
            raise ArgumentError(argument("space", self.space), f"one of {list(get_args(Space))}")
        self._check_fields_of_the_other_space()
        if self.resolution is not None and not 32 <= self.resolution <= MOST_RESOLUTION:
            raise ArgumentError(
                argument("resolution", self.resolution), f"32 to {MOST_RESOLUTION}", f"change {argument('resolution')}"
            )
        if self.depth < 1:
            raise ArgumentError(argument("depth", self.depth), "at least 1", f"raise {argument('depth')}")
        # For a depth of thousands, 2**depth has more digits than Python prints. A depth of tens already exceeds every
        # image.
        if self.depth > _DEEPEST:
            raise ArgumentError(argument("depth", self.depth), f"at most {_DEEPEST}", f"lower {argument('depth')}")
        step = 2**self.depth
        if self.patch < 1 or self.patch % step:
            nearest = max(1, round(self.patch / step)) * step
            raise ArgumentError(
                f"{argument('patch', self.patch)} with {argument('depth', self.depth)}",
                f"a multiple of 2**{self.depth} = {step}, e.g. {nearest}",
                f"change {argument('patch')}, or lower {argument('depth')}",
            )
        self.model(channels=1)
        check_stride("stride", self.stride, self.patch)
        check_scoring(self.term, 1 if self.top_k is None else self.top_k)
        if not 0.0 < self.calibration_fraction < 1.0:
            raise ArgumentError(
                argument("calibration_fraction", self.calibration_fraction),
                "a number between 0 and 1, e.g. 0.25",
                f"change {argument('calibration_fraction')}",
            )
        images_needed(self.false_positive_rate)
        check_review(self.false_positive_rate, self.review_rate)
        if not -(2**63) <= self.seed < 2**63:
            raise ArgumentError(
                argument("seed", self.seed), "an integer of 64 bits, -2**63 to 2**63 - 1", f"change {argument('seed')}"
            )

    @property
    def smallest_image(self) -> int:
        """The least height and width of an image, in pixels."""
        return {"features": SMALLEST_IMAGE, "pixels": self.patch}[self.space]

    def _check_fields_of_the_other_space(self) -> None:
        for field in fields(self):
            space = _OF_ONE_SPACE.get(field.name, self.space)
            if space == self.space:
                continue
            for name, value in _differing(field.name, getattr(self, field.name), field.default):
                raise ArgumentError(
                    f"{argument(name, value)}, which belongs to the space of {space}",
                    f"{argument('space', space)} with it",
                    f"add {argument('space', space)}, or leave {argument(name)} out",
                )

    def model(self, channels: int) -> VAE:
        """Return the network for gray (1) or RGB (3) images."""
        return VAE(
            VAEConfig(
                image_shape=(self.patch, self.patch, channels),
                depth=self.depth,
                base_channels=self.base_channels,
                latent_dim=self.latent_dim,
            )
        )


def _differing(name: str, value: Any, default: Any) -> Iterator[tuple[str, Any]]:
    """Return the settings that differ from their defaults. Those of an inner config have their own names."""
    if is_dataclass(value):
        for field in fields(value):
            yield from _differing(field.name, getattr(value, field.name), getattr(default, field.name))
    elif value != default:
        yield name, value
