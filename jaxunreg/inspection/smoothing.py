"""Heat maps as the eye needs them."""

import numpy as np

SMOOTHING = 1 / 32
"""Standard deviation of the Gaussian, in patches.

A pixel's term depends on one draw of its noise, and the eye looks for what goes on around the pixel.
"""


def smoothed(heat: np.ndarray, sigma: float) -> np.ndarray:
    """A heat map convolved with a Gaussian, with its border repeated outside of it.

    Args:
      heat: `[height, width]`.
      sigma: standard deviation, in pixels.

    >>> smoothed(np.full((3, 4), 2.0), 1.5).round(6).tolist()[0]
    [2.0, 2.0, 2.0, 2.0]
    """
    import scipy.ndimage  # slow to import, and no score needs it

    return scipy.ndimage.gaussian_filter(heat, sigma, mode="nearest")
