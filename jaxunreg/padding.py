"""Arrays filled up to the length that a compiled program expects."""

import numpy as np


def filled(rows: np.ndarray, length: int, axis: int = 0) -> np.ndarray:
    """Append zeros to an array up to the given length, so that one compiled program serves all lengths.

    Zeros are a valid image, so scoring them cannot fail or make a NaN.

    Args:
      rows: the array, with at most `length` entries along `axis`.
      length: length of the result along `axis`.
      axis: axis along which zeros are appended.

    >>> import numpy as np
    >>> filled(np.ones(2), 3).tolist()
    [1.0, 1.0, 0.0]
    """
    missing = (*rows.shape[:axis], length - rows.shape[axis], *rows.shape[axis + 1 :])
    return np.concatenate([rows, np.zeros(missing, rows.dtype)], axis=axis) if missing[axis] else rows
