"""The sizes and bounds of a VAE."""

from dataclasses import dataclass

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.nn.config import NetworkConfig
from jaxunreg.nn.soft_clip import LARGEST_EXPONENT, SOFT_CLIP_MAX_WIDTH


@dataclass(frozen=True, kw_only=True)
class VAEConfig(NetworkConfig):
    """Everything that shapes a `VAE`; see `NetworkConfig` for the sizes.

    The paper gives no range for the log-variances. Without bounds, sigma_x of a flat image region goes to zero and the
    loss to minus infinity. So the log-variances are bounded smoothly.

    Attributes:
      x_log_var_min: lower bound of `log sigma_x^2`. -14 is a sigma of 0.0009, a quarter of the step between two
        grey levels of an 8-bit image, so it does not bind on real pixels.
      x_log_var_max: upper bound of `log sigma_x^2`; 2 is a sigma of 2.7, more than the whole range of a pixel.
      x_log_var_init: where `log sigma_x^2` starts; -4 is a sigma of 0.14, about that of natural images.
      z_log_var_min: lower bound of `log sigma_z^2`.
      z_log_var_max: upper bound of `log sigma_z^2`.
      z_log_var_init: where `log sigma_z^2` starts. Below zero the sample carries a signal from the first step on.

    Raises:
      ArgumentError: a field is out of its range.

    >>> VAEConfig(image_shape=(96, 96, 1), depth=5, latent_dim=50).bottom_shape
    (3, 3, 512)
    """

    x_log_var_min: float = -14.0
    x_log_var_max: float = 2.0
    x_log_var_init: float = -4.0
    z_log_var_min: float = -14.0
    z_log_var_max: float = 4.0
    z_log_var_init: float = -4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("x", "z"):
            low, init, high = (getattr(self, f"{name}_log_var_{end}") for end in ("min", "init", "max"))
            bounds = argument(f"{name}_log_var_min", low), argument(f"{name}_log_var_max", high)
            if not low < init < high:
                raise ArgumentError(
                    f"{bounds[0]}, {argument(f'{name}_log_var_init', init)}, {bounds[1]}",
                    "min < init < max",
                    f"set {argument(f'{name}_log_var_init')} between the bounds",
                )
            if high - low > SOFT_CLIP_MAX_WIDTH:
                raise ArgumentError(
                    " and ".join(bounds),
                    f"them at most {SOFT_CLIP_MAX_WIDTH} apart, so that the ratio of their variances is a float32",
                    f"raise {argument(f'{name}_log_var_min')}",
                )
            if low < -LARGEST_EXPONENT or high > LARGEST_EXPONENT:
                raise ArgumentError(
                    " and ".join(bounds),
                    f"them between {-LARGEST_EXPONENT} and {LARGEST_EXPONENT}, so that variances and their inverses "
                    "are float32",
                    "move the bounds closer to zero",
                )
