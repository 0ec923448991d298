"""Batches of random crops that threads read and cut ahead of training."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Array

from jaxunreg.training.batches.crop_plan import CropPlan, describe_crops
from jaxunreg.training.batches.feed import Feed
from jaxunreg.training.crops import cut
from jaxunreg.training.training_images import ImageSequence

# The most that threads may read ahead.
_BYTES_AHEAD = 2**28


class StreamedCrops:
    """Images are read and cropped by threads while the device trains."""

    def __init__(
        self,
        images: ImageSequence,
        plan: CropPlan,
        feed: Feed,
        steps: int,
        threads: int,
    ) -> None:
        self._images, self._plan, self._feed, self._steps, self._threads = images, plan, feed, steps, threads
        self._next = -1
        self._iterator: Iterator[np.ndarray] = iter(())

    def describe(self) -> dict[str, Any]:
        """Return how many images and pixels there are, and a hash of their contents, which is computed here."""
        return describe_crops(self._images, self._plan)

    def steps(self, start: int, count: int) -> tuple[Array, np.ndarray]:
        """See `Batches.steps`."""
        if start != self._next:
            self._iterator = self._reading_from(start)
        self._next = start + count
        return self._feed.batches(np.stack([next(self._iterator) for _ in range(count)]))

    def _reading_from(self, start: int) -> Iterator[np.ndarray]:
        first = np.asarray(self._images[0])
        nbytes = self._plan.batch_size * math.prod(self._plan.patch) * first.shape[-1] * first.itemsize
        ahead = min(2 * self._plan.a_dispatch, max(2, _BYTES_AHEAD // nbytes)) if self._threads else 0
        import grain  # slow to import, and no score needs it

        options = grain.ReadOptions(num_threads=self._threads, prefetch_buffer_size=ahead)
        return iter(grain.MapDataset.range(start, self._steps).map(self._crops).to_iter_dataset(options))

    def _crops(self, step: int) -> np.ndarray:
        images, corners = (rows[self._feed.own] for rows in self._plan.step(int(step)))
        return np.concatenate(
            [
                cut(self._images[int(image)], corner[None], self._plan.patch)
                for image, corner in zip(images, corners, strict=True)
            ]
        )
