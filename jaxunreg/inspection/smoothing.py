"""Smoothing of heat maps for display."""

import numpy as np


def smoothed(heat: np.ndarray, sigma: float) -> np.ndarray:
    """Convolve a heat map with a Gaussian. Its border is repeated outside.

    Args:
      heat: `[height, width]`.
      sigma: standard deviation, in pixels; 0 leaves the map unchanged.

    >>> smoothed(np.full((3, 4), 2.0), 1.5).round(6).tolist()[0]
    [2.0, 2.0, 2.0, 2.0]
    """
    import scipy.ndimage  # slow to import, and no score needs it

    return scipy.ndimage.gaussian_filter(heat, sigma, mode="nearest")
