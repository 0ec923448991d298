"""The choice of the images that train a detector, and of those that set its threshold."""

import hashlib
import math
from collections.abc import Sequence

import numpy as np

from jaxunreg.datasets.folders.splitting import held_out
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.inspection.calibration import images_needed
from jaxunreg.inspection.config import DetectorConfig


def hold_out(groups: Sequence[str], config: DetectorConfig, copies: int = 0) -> np.ndarray:
    """Choose the images to hold out for calibration.

    Args:
      groups: group of each image. A group is held out as a whole.
      config: gives the share of the groups, the seed, and the rate that the held-out groups must support.
      copies: number of images that are copies of others, for the error.

    Returns:
      Whether each image is held out.

    Raises:
      ArgumentError: there are too few groups. The error says which changes would help.
    """
    parts = len(set(groups))
    needed, rate = images_needed(config.false_positive_rate), config.false_positive_rate
    besides = f" ({copies} of {len(groups)} images are copies of others, byte by byte)" if copies else ""
    if parts < 2:
        raise ArgumentError(
            f"{parts} normal part{besides}",
            f"at least {needed + 1}, to train on and to calibrate with",
            "add images",
            field="images",
        )
    out = held_out(groups, config.calibration_fraction, seed=config.seed)
    count = len({group for group, is_out in zip(groups, out, strict=True) if is_out})
    if count < needed:
        # Rounded up to two digits, but never so far that fewer images remain for training than are held out.
        fraction = math.ceil(100 * needed / parts) / 100
        share, wanted = argument("calibration_fraction"), argument("false_positive_rate")
        ways = [f"raise {share} to {fraction:g}"] if fraction <= 0.5 else []
        ways += [f"raise {wanted} to {math.ceil(1000 / (count + 1)) / 1000:g}"]
        ways += [f"give {math.ceil(needed / config.calibration_fraction)} normal parts"]
        raise ArgumentError(
            f"{parts} normal parts{besides}, from which "
            f"{argument('calibration_fraction', config.calibration_fraction)} holds out {count}",
            f"at least {needed} held-out parts for a {wanted} of {rate:g}",
            ", or ".join(ways),
        )
    return out


def one_of_each(groups: Sequence[str], names: Sequence[str], out: np.ndarray, seed: int) -> list[int]:
    """Choose one held-out image of each group by the hash of its name, which depends on neither order nor platform."""
    ranked = sorted(
        np.flatnonzero(out).tolist(), key=lambda k: hashlib.sha256(f"{seed}/{names[k]}".encode()).digest(), reverse=True
    )
    return sorted({groups[k]: k for k in ranked}.values())


def joined(groups: Sequence[str], hashes: Sequence[str]) -> list[str]:
    """Return the group of each image. Groups that share an image become one, with the first of their names.

    >>> joined(["c", "b", "a", "d"], ["1", "2", "1", "3"])
    ['a', 'b', 'a', 'd']
    """
    into = {group: group for group in groups}

    def name(group: str) -> str:
        while into[group] != group:
            group = into[group]
        return group

    first: dict[str, str] = {}
    for group, digest in zip(groups, hashes, strict=True):
        low, high = sorted((name(group), name(first.setdefault(digest, group))))
        into[high] = low
    return [name(group) for group in groups]
