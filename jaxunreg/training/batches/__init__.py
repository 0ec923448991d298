"""Batches for training: whole images in random order, or random crops, from the device's memory or read ahead."""

from jaxunreg.training.batches.make import Batches, make_batches
from jaxunreg.training.batches.memory import stay_on_device
from jaxunreg.training.batches.order import batch_indices
from jaxunreg.training.batches.select import select

__all__ = ["Batches", "batch_indices", "make_batches", "select", "stay_on_device"]
