"""The places of the crops of each training step."""

import functools
from typing import Any

import jax
import numpy as np

from jaxunreg.serialization import fingerprint
from jaxunreg.training.batches.order import batch_indices
from jaxunreg.training.crops import CROPS, crop_corners
from jaxunreg.training.training_images import ImageSequence, knows_sizes
from jaxunreg.typing import PRNGKey


class CropPlan:
    """The image and the place from which each crop of each step is cut."""

    def __init__(
        self, key: PRNGKey, sizes: np.ndarray, patch: tuple[int, ...], batch_size: int, a_dispatch: int
    ) -> None:
        self.sizes, self.patch, self.batch_size, self.a_dispatch = sizes, (patch[0], patch[1]), batch_size, a_dispatch
        self._image_key, self._corner_key = jax.random.split(jax.random.fold_in(key, CROPS))
        # Threads that read ahead ask for steps of one block at about the same time.
        self._block = functools.lru_cache(maxsize=8)(self._drawn)

    def step(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the images `[batch]` and corners `[batch, 2]` of one step."""
        block, k = divmod(step, self.a_dispatch)
        images, corners = self._block(block)
        return images[k], corners[k]

    def _drawn(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        start = block * self.a_dispatch
        images = batch_indices(self._image_key, len(self.sizes), self.batch_size, start, self.a_dispatch)
        steps = np.arange(start, start + self.a_dispatch, dtype=np.int32)
        return images, crop_corners(self._corner_key, steps, self.sizes[images], self.patch)


def describe_crops(images: ImageSequence, plan: CropPlan) -> dict[str, Any]:
    """Return JSON data that identifies images from which crops are drawn. It reads all of them."""
    content = (
        images.fingerprint if knows_sizes(images) else fingerprint([np.asarray(images[k]) for k in range(len(images))])
    )
    return {"crops_of": len(images), "pixels": int(plan.sizes.prod(axis=1).sum()), "sha256": content}
