"""What a detector's settings must satisfy."""

from jaxunreg.decomposition import check_term
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.inspection.calibration import images_needed
from jaxunreg.inspection.held_out import MOST_TOP_K


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


def check_scoring(term: str, top_k: int) -> None:
    """Check the settings that an `AnomalyDetector` and a `DetectorConfig` share.

    Raises:
      ArgumentError: a value is out of its range.
    """
    check_term(term)
    if not 1 <= top_k <= MOST_TOP_K:
        raise ArgumentError(argument("top_k", top_k), f"1 to {MOST_TOP_K}", f"change {argument('top_k')}")
