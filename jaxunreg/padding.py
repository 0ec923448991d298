"""Arrays filled up to a length that every call of a compiled program has."""

import numpy as np


def filled(rows: np.ndarray, length: int, axis: int = 0) -> np.ndarray:
    """As many rows as every call has, so that one program serves all.

    Zeros are a valid image, so what is filled up can neither fail nor make a NaN.

    >>> import numpy as np
    >>> filled(np.ones(2), 3).tolist()
    [1.0, 1.0, 0.0]
    """
    missing = (*rows.shape[:axis], length - rows.shape[axis], *rows.shape[axis + 1 :])
    return np.concatenate([rows, np.zeros(missing, rows.dtype)], axis=axis) if missing[axis] else rows
