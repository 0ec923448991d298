"""Files of weights: their bytes, checked by SHA-256, and their arrays, checked too."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxunreg.errors import JaxunregError
from jaxunreg.paths import read_file

_ANOTHER = "the file is of another network; pass the one of this network"


class WeightsError(JaxunregError, ValueError):
    """A file of weights is missing, cut short, altered, or not the expected one."""


class Content(NamedTuple):
    """The bytes of a file and their SHA-256, as 64 hexadecimal digits."""

    content: bytes
    sha256: str


def read_weights(path: Path, sha256: str | None = None) -> Content:
    """Return the bytes of a file, if they are the expected ones.

    Args:
      path: the file.
      sha256: SHA-256 that its bytes must have, as 64 hexadecimal digits, or None for any bytes.

    Raises:
      WeightsError: there is no such file, or its bytes are not the expected ones.

    >>> read_weights(Path("none.safetensors"))
    Traceback (most recent call last):
    jaxunreg.features.weights_file.WeightsError: no readable file of weights at none.safetensors ...
    """
    try:
        content = read_file(path)
    except OSError as error:
        raise WeightsError(
            f"no readable file of weights at {path} ({error.strerror or error})", advice="pass the path of one"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 not in (None, found):
        raise WeightsError(
            f"{path} of {len(content):,} bytes with the SHA-256 {found}",
            f"the SHA-256 {sha256}",
            "the file is cut short, altered or another one; install or copy it again",
        )
    return Content(content, found)


def array_of(tensors: Mapping[str, np.ndarray], name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """Return one array by its name, checked.

    Args:
      tensors: arrays by their names.
      name: name of the array.
      shape: the expected shape; `None` stands for any length.

    Raises:
      WeightsError: the array is missing, of another shape, or not finite.

    >>> import numpy as np
    >>> array_of({"a": np.ones((2, 3))}, "a", (2, None)).shape
    (2, 3)
    """
    if name not in tensors:
        raise WeightsError(f"weights without {name}", f"an array of that name, {_in_words(shape)}", _ANOTHER)
    array = tensors[name]
    if len(array.shape) != len(shape) or any(n not in (None, m) for n, m in zip(shape, array.shape, strict=True)):
        raise WeightsError(f"{name} of shape {list(array.shape)}", _in_words(shape), _ANOTHER)
    if not np.isfinite(array).all():
        raise WeightsError(f"{name} with NaN or infinity", "finite weights", "the file is damaged; copy it again")
    return array


def _in_words(shape: tuple[int | None, ...]) -> str:
    return "[" + ", ".join("N" if length is None else str(length) for length in shape) + "]"
