"""Holding out whole groups of images."""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from jaxunreg.errors import ArgumentError, argument


def held_out(groups: Sequence[str], fraction: float, *, seed: int = 0) -> Bool[np.ndarray, " n"]:
    """Choose groups to hold out.

    The groups are ordered by the SHA-256 of seed and name, and the first are taken. So the choice depends neither on
    their order nor on the platform, and it hardly changes when a group is added or removed.

    Args:
      groups: the group of each image.
      fraction: the share of groups to hold out, in [0, 1). It is rounded, to at least one group if it is above 0, and
        never to all.
      seed: any integer.

    Returns:
      Whether each image is held out.

    Raises:
      ArgumentError: the fraction is out of range, or there is only one group to split.

    >>> held_out(["a", "a", "b", "c"], 0.3).tolist()
    [False, False, False, True]
    """
    check_fraction("fraction", fraction)
    names = sorted(set(groups), key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    if fraction > 0.0 and len(names) < 2:
        raise ArgumentError(
            f"{len(names)} group(s) of images, and a share of {fraction} to hold out",
            "2 or more",
            "add images, or hold none out",
            field="groups",
        )
    count = min(max(round(fraction * len(names)), 1), len(names) - 1) if fraction > 0.0 else 0
    chosen = set(names[:count])
    return np.array([group in chosen for group in groups], bool)


def check_fraction(name: str, fraction: float) -> None:
    """Check a share of groups to hold out.

    Raises:
      ArgumentError: it is out of range.
    """
    if not 0.0 <= fraction < 1.0:
        raise ArgumentError(argument(name, fraction), "at least 0 and less than 1", "give a smaller share, 0 for none")
