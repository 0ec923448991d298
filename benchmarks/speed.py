"""Images a second."""

import time
from collections.abc import Callable
from typing import TypeAlias

Runner: TypeAlias = Callable[[], int]
"""Does some work and returns how many images that was."""


def images_per_second(runner: Runner, seconds: float) -> float:
    """Speed of calls that together take at least `seconds`; at least one call."""
    images, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds or not images:
        images += runner()
    return images / elapsed
