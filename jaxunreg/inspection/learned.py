"""What is learned of normal images, whether of their pixels or of their features."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from jaxunreg.scoring.map_scorer import MapScorer


class Learned(NamedTuple):
    """What is learned of normal images.

    Attributes:
      scorer: the result.
      stride: pixels from one patch to the next at which the detector scores.
      top_k: of how many patches an image's score is the mean, if the user does not say.
      record: what to note of how it was learned, JSON data.
    """

    scorer: MapScorer
    stride: int
    top_k: int
    record: Mapping[str, Any]


Learn: TypeAlias = Callable[[Path | None], Learned]
"""Learns of images that were chosen and checked. The folder is for what is kept of a training that is stopped."""
