"""Whether the images stay in the device's memory."""

from typing import Literal

import jax
import psutil


def stay_on_device(nbytes: int, on_device: Literal["auto", "yes", "no"]) -> bool:
    """Whether so many bytes of images are to be kept in the device's memory; see `TrainConfig.images_on_device`."""
    return nbytes <= _free_memory() / 2 if on_device == "auto" else on_device == "yes"


def _free_memory() -> float:
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return float(psutil.virtual_memory().available)
