"""What a detector's settings must satisfy."""

from typing import get_args

from jaxunreg.decomposition import Term
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.inspection.calibration import images_needed
from jaxunreg.inspection.held_out import MOST_TOP_K
from jaxunreg.scoring.scorer import Scorer


def check_rate(held_out_images: int, false_positive_rate: float) -> None:
    """Refuse a false-positive rate that so few held-out images cannot support.

    Raises:
      ArgumentError: there are too few images.

    >>> check_rate(10, 0.05)
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got 10 held-out normal images; expected at least 19 for a false_positive_rate of
    0.05; add images, or raise false_positive_rate
    """
    needed = images_needed(false_positive_rate)
    if held_out_images < needed:
        rate = argument("false_positive_rate")
        raise ArgumentError(
            f"{held_out_images} held-out normal images",
            f"at least {needed} for a {rate} of {false_positive_rate:g}",
            f"add images, or raise {rate}",
            field="images",
        )


def check_scoring(term: str, stride: int, patch: int, top_k: int) -> None:
    """Check the settings that an `AnomalyDetector` and a `DetectorConfig` share.

    Raises:
      ArgumentError: a value is out of its range.
    """
    if term not in get_args(Term):
        raise ArgumentError(argument("term", term), f"one of {list(get_args(Term))}", "choose one of them")
    check_stride("stride", stride, patch)
    if not 1 <= top_k <= MOST_TOP_K:
        raise ArgumentError(argument("top_k", top_k), f"1 to {MOST_TOP_K}", f"change {argument('top_k')}")


def check_stride(name: str, stride: int, patch: int) -> None:
    """Refuse a stride that is no step, or one that leaves pixels between the patches.

    Args:
      name: of the argument.
      stride: its value.
      patch: height and width of a patch.

    Raises:
      ArgumentError: the stride is out of its range.

    >>> check_stride("heat_map_stride", 0, 96)
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got heat_map_stride=0; expected 1 to 96, the size of a patch, since a longer one
    leaves pixels unseen; change heat_map_stride
    """
    if not 1 <= stride <= patch:
        raise ArgumentError(
            argument(name, stride),
            f"1 to {patch}, the size of a patch, since a longer one leaves pixels unseen",
            f"change {argument(name)}",
        )


def patch_of(scorer: Scorer) -> int:
    """Height and width of the model's images.

    Raises:
      ArgumentError: they differ.
    """
    height, width, _ = scorer.model.config.image_shape
    if height != width:
        raise ArgumentError(
            f"a model of {height}x{width} images",
            "as many rows as columns for a detector",
            "train a model of square images",
            field="scorer",
        )
    return height
