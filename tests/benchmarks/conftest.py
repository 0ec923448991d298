"""Networks and batches so small that a benchmark ends in seconds."""

from collections.abc import Iterator
from typing import Any

import jax
import pytest

from benchmarks import side

TINY = {"image_shape": (8, 8, 1), "depth": 2, "base_channels": 2, "latent_dim": 2}


@pytest.fixture
def tiny(monkeypatch) -> Iterator[dict[str, Any]]:
    """Both networks of `benchmarks.side` as a tiny one, with batches of four images."""
    jax.devices()  # A benchmark may set the number of devices only where JAX has not started, which would last.
    for cached in (side.images, side.trained):
        cached.cache_clear()
    for network in side.CONFIGS:
        monkeypatch.setitem(side.CONFIGS, network, TINY)
        monkeypatch.setitem(side.BATCH_SIZE, network, 4)
    yield TINY
    for cached in (side.images, side.trained):
        cached.cache_clear()
