"""Checks of a detector's settings, and of what it keeps of the held-out images."""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, get_args

import numpy as np

from jaxunreg.decomposition import Term, check_term
from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument
from jaxunreg.inspection.calibration import images_needed
from jaxunreg.inspection.held_out import HeldOutScores, PixelLevels, PixelPeaks
from jaxunreg.inspection.region_to_tell import RegionToTell
from jaxunreg.integers import check_integer
from jaxunreg.metrics.scores import finite_scores


def check_rate(held_out_images: int, false_positive_rate: float, name: str = "false_positive_rate") -> None:
    """Refuse a false-positive rate that is too low for the number of held-out images.

    Args:
      held_out_images: number of held-out images.
      false_positive_rate: the rate.
      name: of the argument, for the error.

    Raises:
      ArgumentError: there are too few images.

    >>> check_rate(10, 0.05)
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got 10 held-out normal images; expected at least 19 for a false_positive_rate of
    0.05; add images, or raise false_positive_rate
    """
    needed = images_needed(false_positive_rate)
    if held_out_images < needed:
        rate = argument(name)
        raise ArgumentError(
            f"{held_out_images} held-out normal images",
            f"at least {needed} for a {rate} of {false_positive_rate:g}",
            f"add images, or raise {rate}",
            field="images",
        )


def check_region_rates(held_out_images: int, named_regions: Mapping[str, RegionToTell] | None) -> None:
    """Refuse a rate of a named region that is too low for the number of held-out images.

    Raises:
      ArgumentError: there are too few images.
    """
    for name, region in (named_regions or {}).items():
        rate = region.false_positive_rate
        if rate is not None and held_out_images < images_needed(rate):
            raise ArgumentError(
                f"{held_out_images} held-out normal images",
                f"at least {images_needed(rate)} for a rate of {rate:g} of region {name!r}",
                "add images, or raise the rate of that region",
                field="named_regions",
            )


def check_scoring(term: str, top_k: int) -> None:
    """Check the settings that an `AnomalyDetector` and a `DetectorConfig` share.

    Raises:
      ArgumentError: a value is out of its range.
    """
    check_term(term)
    check_integer("top_k", top_k, at_least=1)


def check_bits(bits: int) -> None:
    """Check the number of bits of a detector's images.

    Raises:
      ArgumentTypeError: it is not an integer.
      ArgumentError: it is not 8, 16 or 32.
    """
    if check_integer("bits", bits, at_least=None) not in (8, 16, 32):
        raise ArgumentError(argument("bits", bits), "8, 16, or 32 for floating point", f"change {argument('bits')}")


def check_arithmetic(of_scorer: str, of_held_out: str) -> None:
    """Refuse a scorer whose arithmetic differs from that of the held-out scores.

    Rounding to bfloat16 adds to M, most where sigma is small, as after a linear start. How much also depends on the
    lowering. So a threshold of one arithmetic does not hold in another.

    Raises:
      ArgumentError: they differ.
    """
    if of_scorer != of_held_out:
        raise ArgumentError(
            f"a scorer in {of_scorer}, and held-out scores in {of_held_out}",
            "one arithmetic for both",
            "calibrate this scorer by `calibrate_detector`, where it will score",
            field="scorer",
        )


def check_review(false_positive_rate: float, review_rate: float | None) -> None:
    """Check the rate of images that a person should look at.

    Raises:
      ArgumentTypeError: it is not a number.
      ArgumentError: it is not in (0, 1), or not above the rate of rejected images.

    >>> check_review(0.05, 0.01)
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got review_rate=0.01; expected more than false_positive_rate=0.05, so that what is
    rejected is a part of what stands out; raise review_rate
    """
    if review_rate is None:
        return
    if not isinstance(review_rate, Real) or isinstance(review_rate, bool):
        kind = f"{argument('review_rate', review_rate)} of type {type(review_rate).__name__}"
        raise ArgumentTypeError(kind, "a number between 0 and 1, e.g. 0.05", f"change {argument('review_rate')}")
    if not 0.0 < review_rate < 1.0:
        raise ArgumentError(
            argument("review_rate", review_rate),
            "a number between 0 and 1, e.g. 0.05",
            f"change {argument('review_rate')}",
        )
    if review_rate <= false_positive_rate:
        raise ArgumentError(
            argument("review_rate", review_rate),
            f"more than {argument('false_positive_rate', false_positive_rate)}, so that what is rejected is a part of "
            "what stands out",
            f"raise {argument('review_rate')}",
        )


def check_peaks(pixel_peaks: PixelPeaks | None) -> None:
    """Check the highest pixel of each held-out image.

    Raises:
      ArgumentError: a term is missing, or its values are not finite numbers.
    """
    if pixel_peaks is None:
        return
    missing = set(get_args(Term)) - set(pixel_peaks)
    if missing:
        raise _unlike_calibrated(f"pixel peaks of {sorted(pixel_peaks)}", f"{sorted(missing)} too", "pixel_peaks")
    for peaks in pixel_peaks.values():
        finite_scores("pixel_peaks", peaks)


def check_held_out(held_out: HeldOutScores, pixel_levels: PixelLevels) -> None:
    """Check what a detector keeps of the held-out images.

    Raises:
      ArgumentError: a term is missing, has scores of another number of images, or an image without a score; scores are
        not finite or not descending; or pixel levels are not two finite, ascending numbers.
    """
    missing = set(get_args(Term)) - (set(held_out) & set(pixel_levels))
    if missing:
        raise _unlike_calibrated(f"held-out scores of {sorted(held_out)}", f"those of {sorted(missing)} too")
    images = {term: len(rows) for term, rows in held_out.items()}
    if len(set(images.values())) > 1:
        raise _unlike_calibrated(f"held-out scores of different numbers of images, {images}", "as many for each term")
    for term, rows in held_out.items():
        scores = np.asarray(rows)
        if scores.ndim != 2 or not np.issubdtype(scores.dtype, np.floating):
            raise _unlike_calibrated(
                f"held-out scores {term!r} of shape {scores.shape} and dtype {scores.dtype}",
                "floating point of shape [images, patches]",
            )
        # An image with fewer patches than are kept is filled up with NaN. The sort puts NaN last.
        if scores.shape[1] == 0 or np.isnan(scores[:, 0]).any():
            raise _unlike_calibrated(f"held-out scores {term!r} with an image without a score", "one at least")
        if np.isinf(scores).any() or not np.array_equal(-np.sort(-scores, axis=1), scores, equal_nan=True):
            raise _unlike_calibrated(
                f"held-out scores {term!r} that are infinite or not descending", "finite ones, descending in each image"
            )
    for term, levels in pixel_levels.items():
        if not _are_levels(levels):
            raise _unlike_calibrated(
                f"pixel levels {term!r} of {levels!r}", "two finite numbers, ascending", "pixel_levels"
            )


def _are_levels(levels: Any) -> bool:
    if not isinstance(levels, tuple) or len(levels) != 2:
        return False
    numbers = all(isinstance(level, Real) and not isinstance(level, bool) for level in levels)
    return numbers and math.isfinite(levels[0]) and math.isfinite(levels[1]) and levels[0] <= levels[1]


def _unlike_calibrated(got: str, expected: str, field: str = "held_out") -> ArgumentError:
    return ArgumentError(got, expected, "make the detector by `calibrate_detector`", field=field)
