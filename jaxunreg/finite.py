"""One check of learned arrays, before they are written and after they are read."""

import jax
import numpy as np

from jaxunreg.errors import ArgumentError
from jaxunreg.typing import PyTree

# Number of values that are checked at a time. In one piece, the truth values of a detector of 250 MB take 70 MB and 0.1
# to 0.2 s instead of 0.05 s.
_PART = 2**16


def check_finite(arrays: PyTree, field: str = "variables") -> None:
    """Refuse learned arrays with NaN or infinities: they would make every score NaN.

    Args:
      arrays: a pytree. Leaves that are not floating point are not checked.
      field: name of the arrays, for the error.

    Raises:
      ArgumentError: some values are not finite.

    >>> import numpy as np
    >>> check_finite({"w": np.array([1.0, np.nan])})
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got variables with NaN or infinities, 1 of the 2 values of ['w']; expected finite
    numbers; train again, with a lower learning rate if this was training's result
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
        if not jax.numpy.issubdtype(leaf.dtype, jax.numpy.inexact):
            continue
        values = np.asarray(leaf).reshape(-1)
        parts = (values[k : k + _PART] for k in range(0, values.size, _PART))
        bad = sum(part.size - int(np.count_nonzero(np.isfinite(part))) for part in parts)
        if bad:
            raise ArgumentError(
                f"{field} with NaN or infinities, {bad} of the {leaf.size} values of {jax.tree_util.keystr(path)}",
                "finite numbers",
                "train again, with a lower learning rate if this was training's result",
                field=field,
            )
