"""Shared parts of the baselines on maps of features: the check of the maps, the results, and heat maps in pixels."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from jaxtyping import Array, Float, Float32, Float64

from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument
from jaxunreg.features.levels import resize
from jaxunreg.features.network import FeatureError
from jaxunreg.integers import check_integer
from jaxunreg.masked import check_unmasked
from jaxunreg.signatures import checked


class Localization(NamedTuple):
    """How anomalous each image is, and each place of its map; higher is more anomalous.

    Attributes:
      score: score of each image.
      maps: the distance of each place from normal places. `to_pixels` makes heat maps of it.
    """

    score: Float64[np.ndarray, "n"]
    maps: Float32[np.ndarray, "n rows columns"]


@checked
def check_features(features: np.ndarray | Array, shape: tuple[int | None, ...] = (None, None, None, None)) -> None:
    """Refuse arguments that are not a batch of maps of finite features.

    Args:
      features: `[N, rows, columns, features]`, floating point; may be float16 or a memory-mapped file.
      shape: the expected shape; `None` stands for any length above zero.

    Raises:
      ArgumentTypeError: the dtype is not floating point.
      FeatureError: the shape differs, or the array is empty or holds NaN or infinity.

    >>> check_features(np.zeros((2, 4, 4, 3), np.float32), (None, None, None, 152))
    Traceback (most recent call last):
    jaxunreg.features.network.FeatureError: got features of shape [2, 4, 4, 3]; expected [N, rows, columns, 152]; pass
    maps of the network and the image size of the fit
    """
    check_unmasked(features, "features")
    if not jnp.issubdtype(features.dtype, jnp.floating):
        raise ArgumentTypeError(
            f"features of dtype {features.dtype}",
            "floating point",
            "pass the maps of a feature network, such as EfficientNetLite0",
            "features",
        )
    names = ("N", "rows", "columns", "features")
    wanted = f"[{', '.join(name if want is None else str(want) for name, want in zip(names, shape, strict=True))}]"
    if 0 in features.shape:
        raise FeatureError(f"an empty array of shape {list(features.shape)}", wanted, field="features")
    if features.ndim != 4 or any(want not in (None, got) for got, want in zip(features.shape, shape, strict=True)):
        raise FeatureError(
            f"features of shape {list(features.shape)}",
            wanted,
            "pass maps of the network and the image size of the fit",
            "features",
        )
    for number, of_image in enumerate(features):
        if not np.isfinite(np.asarray(of_image, np.float32)).all():
            raise FeatureError(
                f"features with NaN or infinity, first in image {number}",
                "finite numbers",
                "look at that image and at the feature network",
                "features",
            )


@checked
def to_pixels(
    maps: Float[Array | np.ndarray, "n rows columns"], height: int, width: int, sigma: float = 4.0
) -> Float32[np.ndarray, "n {height} {width}"]:
    """Make heat maps: enlarge the distances of places bilinearly to pixels and smooth them by a Gaussian.

    Args:
      maps: `Localization.maps`.
      height: height of the images, in pixels.
      width: width of the images, in pixels.
      sigma: standard deviation of the Gaussian, in pixels. PaDiM and PatchCore use 4; 0 smooths nothing.

    Returns:
      The heat maps, in the unit of `maps`.

    Raises:
      ArgumentError: sigma is negative or not finite, or a length is below one.

    >>> to_pixels(np.array([[[0.0, 4.0]]]), 1, 4, sigma=0.0).tolist()
    [[[0.0, 1.0, 3.0, 4.0]]]
    """
    for name, length in (("height", height), ("width", width)):
        check_integer(name, length, at_least=1)
    if not 0.0 <= sigma < np.inf:
        raise ArgumentError(argument("sigma", sigma), "a finite number that is not negative")
    enlarged = np.asarray(resize(jnp.asarray(maps, jnp.float32)[..., None], height, width)[..., 0])
    return scipy.ndimage.gaussian_filter(enlarged, (0.0, sigma, sigma)) if sigma else enlarged
