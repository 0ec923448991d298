"""Batches of whole images."""

from typing import Any

import numpy as np
from jaxtyping import Array

from jaxunreg.serialization import fingerprint
from jaxunreg.training.batches.feed import Feed
from jaxunreg.training.batches.order import batch_indices
from jaxunreg.typing import AnyImages, PRNGKey


class WholeImages:
    """Batches of whole images in random order, from the device's memory or from the host's."""

    def __init__(self, images: AnyImages, key: PRNGKey, feed: Feed, *, resident: bool) -> None:
        self._images, self._key, self._feed = images, key, feed
        self._resident = feed.resident(images) if resident else None

    def describe(self) -> dict[str, Any]:
        """Return their shape, and a hash of their contents, which is computed here."""
        return {"shape": list(self._images.shape), "sha256": fingerprint(self._images)}

    def steps(self, start: int, count: int) -> tuple[Array, Array | np.ndarray]:
        """See `Batches.steps`."""
        indices = batch_indices(self._key, len(self._images), self._feed.batch_size, start, count)
        if self._resident is not None:
            return self._feed.rows(self._resident, indices)
        return self._feed.batches(np.asarray(self._images)[indices[:, self._feed.own]])
