"""scikit-learn's warnings about fits that did not converge."""

import contextlib
import warnings
from collections.abc import Iterator

from sklearn.exceptions import ConvergenceWarning


@contextlib.contextmanager
def convergence_warnings() -> Iterator[list[str]]:
    """Catch scikit-learn's convergence warnings of the body. Other warnings are raised again afterwards.

    Yields:
      A list that holds the texts of the convergence warnings once the body has ended.
    """
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        yield said
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            said.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
