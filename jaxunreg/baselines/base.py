"""What every baseline offers, and how it takes images."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float32
from sklearn.exceptions import ConvergenceWarning

from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument
from jaxunreg.images import to_float


@runtime_checkable
class Detector(Protocol):
    """What every baseline offers: `fit` on images assumed normal, then scores that are higher for anomalies.

    Images are `[N, height, width, channels]`, uint8 or floating point in [0, 1].
    """

    def fit(self, images: np.ndarray | Array) -> "Detector":
        """Learns what is normal and returns the detector itself."""
        ...

    def scores(self, images: np.ndarray | Array) -> dict[str, np.ndarray]:
        """Anomaly scores, float64 `[N]`, by name: "nelbo", "d", "a", "m" where there are terms, else "score"."""
        ...


def check_integer(name: str, value: object, *, at_least: int) -> None:
    """Refuses a field of a config that is no integer, or is too low.

    Raises:
      TypeError: the value is not an integer.
      ValueError: it is lower than `at_least`.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ArgumentTypeError(f"{argument(name, value)} of type {type(value).__name__}", "an integer")
    if value < at_least:
        raise ArgumentError(argument(name, value), f"at least {at_least}")


@contextlib.contextmanager
def convergence_warnings() -> Iterator[list[str]]:
    """A list that is filled, when the body is done, with what scikit-learn warns of convergence; others pass on."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        yield said
    for warning in caught:
        if issubclass(warning.category, ConvergenceWarning):
            said.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def flatten(images: np.ndarray | Array) -> Float32[np.ndarray, "n pixels"]:
    """The images, checked already, as float32 rows in [0, 1], in memory of their own."""
    return np.array(to_float(images)).reshape(len(images), -1)
