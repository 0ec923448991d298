"""Whole groups of images held out."""

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool


def held_out(groups: Sequence[str], fraction: float, *, seed: int = 0) -> Bool[np.ndarray, " n"]:
    """Choose groups to hold out.

    The groups are ordered by the SHA-256 of seed and name, and the first of them are taken: the choice depends
    neither on their order nor on the platform, and hardly changes when a group comes or goes.

    Args:
      groups: the group of each image.
      fraction: the share of groups to hold out, in [0, 1): rounded, at least one group if above 0, never all.
      seed: any integer.

    Returns:
      Whether each image is held out.

    Raises:
      ValueError: the fraction is out of range, or there is only one group to split.

    >>> held_out(["a", "a", "b", "c"], 0.3).tolist()
    [False, False, False, True]
    """
    if not 0.0 <= fraction < 1.0:
        raise ValueError(f"the fraction to hold out is {fraction}; expected at least 0 and less than 1")
    names = sorted(set(groups), key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    if fraction > 0.0 and len(names) < 2:
        raise ValueError(
            f"got {len(names)} group(s) of images to hold a share of {fraction} out of; expected 2 or more"
        )
    count = min(max(round(fraction * len(names)), 1), len(names) - 1) if fraction > 0.0 else 0
    chosen = set(names[:count])
    return np.array([group in chosen for group in groups], bool)
