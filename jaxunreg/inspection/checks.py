"""What a detector's settings must satisfy."""

from typing import get_args

from jaxunreg.decomposition import Term
from jaxunreg.inspection.calibration import images_needed
from jaxunreg.scoring.scorer import Scorer

MOST_TOP_K = 16
"""The patches of each held-out image whose scores a detector keeps, so that `top_k` may be chosen later."""


def check_rate(held_out_images: int, false_positive_rate: float, advice: str = "add images, or raise the rate") -> None:
    """Refuse a false-positive rate that so few held-out images cannot support.

    Raises:
      ValueError: as said.

    >>> check_rate(10, 0.05)
    Traceback (most recent call last):
    ValueError: got 10 held-out normal images; expected at least 19 for a false_positive_rate of 0.05; add images, or...
    """
    needed = images_needed(false_positive_rate)
    if held_out_images < needed:
        raise ValueError(
            f"got {held_out_images} held-out normal images; expected at least {needed} for a false_positive_rate of "
            f"{false_positive_rate:g}; {advice}"
        )


def check_scoring(term: str, stride: int, patch: int, top_k: int) -> None:
    """Check what an `AnomalyDetector` and a `DetectorConfig` share.

    Raises:
      ValueError: a value out of its range.
    """
    if term not in get_args(Term):
        raise ValueError(f"got term={term!r}; expected one of {list(get_args(Term))}")
    check_stride("stride", stride, patch)
    if not 1 <= top_k <= MOST_TOP_K:
        raise ValueError(f"got top_k={top_k}; expected 1 to {MOST_TOP_K}")


def check_stride(name: str, stride: int, patch: int) -> None:
    """Refuse a stride that is no step, or with which pixels would be in no patch.

    Raises:
      ValueError: as said, by the name of the argument.

    >>> check_stride("heat_map_stride", 0, 96)
    Traceback (most recent call last):
    ValueError: got heat_map_stride=0; expected 1 to 96, the size of a patch, since a longer one leaves pixels unseen
    """
    if not 1 <= stride <= patch:
        raise ValueError(
            f"got {name}={stride}; expected 1 to {patch}, the size of a patch, since a longer one leaves pixels unseen"
        )


def patch_of(scorer: Scorer) -> int:
    """Height and width of the model's images, or an error where they differ."""
    height, width, _ = scorer.model.config.image_shape
    if height != width:
        raise ValueError(f"got a model of {height}x{width} images; expected as many rows as columns for a detector")
    return height
