"""The form of every labelled data set."""

import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, UInt8


class LabeledImages(NamedTuple):
    """Images with one class label each.

    Attributes:
      images: uint8 `[n, height, width, channels]`.
      labels: int64 `[n]`.
    """

    images: UInt8[np.ndarray, "n height width channels"]
    labels: Int64[np.ndarray, " n"]


@dataclass(frozen=True)
class Dataset:
    """A training and a test split, and where they came from.

    Attributes:
      name: the name to show beside every figure, e.g. `"SVHN (24.8k subset)"`.
      train: the training split.
      test: the test split.
      source: one sentence on how the images were obtained.
      requested: the name that was asked for, e.g. `"auto"`.
      fell_back: whether the data set is a replacement for the one asked for.
      fallback_reason: the reason, if it is.
    """

    name: str
    train: LabeledImages
    test: LabeledImages
    source: str
    requested: str
    fell_back: bool = False
    fallback_reason: str | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the shapes, dtypes and bytes of both splits.

        >>> import numpy as np
        >>> split = LabeledImages(np.zeros((2, 4, 4, 3), np.uint8), np.array([3, 5]))
        >>> Dataset("tiny", split, split, "made by hand", "tiny").fingerprint[:8]
        'c2b6aaf3'
        """
        digest = hashlib.sha256()
        for array in (*self.train, *self.test):
            digest.update(f"{array.shape}{array.dtype.str}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()
