"""A region of the image that gets its own threshold, before the detector is calibrated."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool


class RegionToTell(NamedTuple):
    """A region that gets its own threshold.

    Attributes:
      mask: its pixels, of any size; see `jaxunreg.inspection.counting`.
      false_positive_rate: wanted share of normal images in which it is anomalous; None for the detector's rate.
    """

    mask: Bool[np.ndarray, "height width"]
    false_positive_rate: float | None = None
