"""One refusal of NumPy's masked arrays, whose mask JAX and most of NumPy drop without a word."""

from typing import Any

import numpy as np

from jaxunreg.errors import ArgumentError


def check_unmasked(array: Any, field: str) -> None:
    """Refuse a masked array in which something is masked; any other object passes.

    Args:
      array: of any kind.
      field: what it is, for the error.

    Raises:
      ArgumentError: some of its values are masked.

    >>> check_unmasked(np.ma.masked_greater(np.array([1.0, 9.0]), 5), "scores")
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got scores of which 1 of 2 values are masked; expected an array without a mask; leave
    out what is masked, or say what stands there with `.filled(value)`
    """
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ArgumentError(
            f"{field} of which {int(np.ma.count_masked(array))} of {array.size} values are masked",
            "an array without a mask",
            "leave out what is masked, or say what stands there with `.filled(value)`",
            field=field,
        )
