"""Heat maps in pixels of the models of features."""

import numpy as np
import PIL.Image

from jaxunreg.baselines.feature_maps import to_pixels
from jaxunreg.scoring.enlargement import enlarged

from .config import FeatureModel
from .models import MODELS


def in_pixels(
    model: FeatureModel, places: np.ndarray, working_size: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """Return the map of one image in pixels, `[height, width]`, float32.

    The terms of a density are interpolated between places, as in the detector. The distances of PaDiM and PatchCore are
    enlarged to the working image and smoothed there by a Gaussian of 4 pixels, as in their papers.

    Args:
      model: the model of the map.
      places: the map of places, `[rows, columns]`.
      working_size: height and width at which the network saw the image.
      size: height and width of the image.
    """
    if "m" in MODELS[model].scores:
        return enlarged(places, size, working_size).astype(np.float32)
    [smooth] = to_pixels(places[None], *working_size)
    if size == working_size:
        return smooth
    height, width = size
    return np.asarray(PIL.Image.fromarray(smooth).resize((width, height), PIL.Image.Resampling.BILINEAR))
