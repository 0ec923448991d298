"""The order in which training steps see images."""

import jax
import numpy as np

from jaxunreg.training.crops import ORDER
from jaxunreg.typing import PRNGKey


def batch_indices(key: PRNGKey, images: int, batch_size: int, start: int, count: int) -> np.ndarray:
    """Return which images each of the steps `start .. start + count` sees.

    The batches are cut from an endless row of random permutations, one an epoch. So every image counts exactly once an
    epoch, and the batch of a step is known without running the steps before it.

    Args:
      key: PRNG key. Epoch e draws from its own stream, which differs from step e's noise, `fold_in(key, e)`.
      images: how many images there are.
      batch_size: images a step.
      start: first step.
      count: number of steps.

    Returns:
      int32 `[count, batch_size]`.

    >>> import jax
    >>> sorted(batch_indices(jax.random.key(0), 6, 2, 0, 3).ravel().tolist())
    [0, 1, 2, 3, 4, 5]
    """
    first, last = start * batch_size, (start + count) * batch_size
    epochs = range(first // images, -(-last // images))
    row = np.concatenate([_permutation(key, epoch, images) for epoch in epochs])
    offset = epochs.start * images
    return row[first - offset : last - offset].reshape(count, batch_size)


def _permutation(key: PRNGKey, epoch: int, images: int) -> np.ndarray:
    key = jax.random.fold_in(jax.random.fold_in(key, ORDER), epoch)
    return np.asarray(jax.random.permutation(key, images), np.int32)
