"""Heat maps as the eye needs them."""

import numpy as np


def smoothed(heat: np.ndarray, sigma: float) -> np.ndarray:
    """A heat map convolved with a Gaussian, with its border repeated outside of it.

    Args:
      heat: `[height, width]`.
      sigma: standard deviation, in pixels; 0 leaves the map as it is.

    >>> smoothed(np.full((3, 4), 2.0), 1.5).round(6).tolist()[0]
    [2.0, 2.0, 2.0, 2.0]
    """
    import scipy.ndimage  # slow to import, and no score needs it

    return scipy.ndimage.gaussian_filter(heat, sigma, mode="nearest")
