"""A region of the image that a detector is to tell apart, before it is calibrated."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool


class RegionToTell(NamedTuple):
    """A region that a detector is to tell apart.

    Attributes:
      mask: its pixels, of any size; see `jaxunreg.inspection.counting`.
      false_positive_rate: wanted share of normal images in which it is anomalous; None for that of the detector.
    """

    mask: Bool[np.ndarray, "height width"]
    false_positive_rate: float | None = None
