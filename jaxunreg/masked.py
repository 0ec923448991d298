"""The refusal of NumPy's masked arrays. JAX and most of NumPy silently drop their mask."""

from typing import Any

import numpy as np

from jaxunreg.errors import ArgumentError


def check_unmasked(array: Any, field: str) -> None:
    """Refuse a masked array with masked values. Any other object passes.

    Args:
      array: any object.
      field: its name, for the error.

    Raises:
      ArgumentError: some values are masked.

    >>> check_unmasked(np.ma.masked_greater(np.array([1.0, 9.0]), 5), "scores")
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got scores of which 1 of 2 values are masked; expected an array without a mask; leave
    out masked values, or replace them with `.filled(value)`
    """
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        raise ArgumentError(
            f"{field} of which {int(np.ma.count_masked(array))} of {array.size} values are masked",
            "an array without a mask",
            "leave out masked values, or replace them with `.filled(value)`",
            field=field,
        )
