"""Whether the images stay in the device's memory."""

from typing import Literal

import jax
import psutil

from jaxunreg.errors import ArgumentError, argument


def stay_on_device(nbytes: int, on_device: Literal["auto", "yes", "no"]) -> bool:
    """Return whether to keep so many bytes of images in the device's memory; see `TrainConfig.images_on_device`."""
    return nbytes <= _free_memory() / 2 if on_device == "auto" else on_device == "yes"


def _free_memory() -> float:
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return float(psutil.virtual_memory().available)


def check_batch_fits(batch_size: int, values: int) -> None:
    """Refuse a batch whose images alone would fill the memory of this machine, before they are drawn.

    Args:
      batch_size: images a step.
      values: number of values of an image. Each is a float32 in the network.

    Raises:
      ArgumentError: the batch is too large.
    """
    most = psutil.virtual_memory().total // (4 * values)
    if batch_size > most:
        raise ArgumentError(
            argument("batch_size", batch_size),
            f"fewer than {most}, since the images of a batch must fit into memory",
            f"lower {argument('batch_size')}; 64 to 256 is usual",
        )
