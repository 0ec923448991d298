"""Images a second."""

import time
from collections.abc import Callable
from typing import TypeAlias

Runner: TypeAlias = Callable[[], int]
"""A function that does some work and returns the number of images."""


def images_per_second(runner: Runner, seconds: float) -> float:
    """Return the speed of calls that together take at least `seconds`; at least one call."""
    images, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds or not images:
        images += runner()
    return images / elapsed
