"""The result of learning from normal images, in pixels or in features."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from jaxunreg.scoring.map_scorer import MapScorer


class Learned(NamedTuple):
    """The result of learning from normal images.

    Attributes:
      scorer: the learned scorer.
      stride: pixels from one patch to the next in the detector's scores.
      top_k: default number of patches in the mean of an image's score.
      record: notes on how it was learned, JSON data.
    """

    scorer: MapScorer
    stride: int
    top_k: int
    record: Mapping[str, Any]


Learn: TypeAlias = Callable[[Path | None], Learned]
"""A function that learns from chosen and checked images. The folder is for the files of a stopped training."""
