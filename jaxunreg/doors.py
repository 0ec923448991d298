"""Checks of the arguments of public functions, before they are used."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxunreg.errors import ArgumentTypeError, argument
from jaxunreg.masked import check_unmasked
from jaxunreg.typing import PRNGKey


def check_kind(name: str, value: object, kind: type | tuple[type, ...], expected: str, advice: str) -> None:
    """Check the kind of an argument.

    Args:
      name: name of the argument.
      value: what was given for it.
      kind: a class, or a protocol that can be checked.
      expected: the kind in words.
      advice: how to get one.

    Raises:
      ArgumentTypeError: it is of another kind.

    >>> check_kind("config", {}, int, "a TrainConfig", "make it by TrainConfig()")
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentTypeError: got config of type dict; expected a TrainConfig; make it by TrainConfig()
    """
    if not isinstance(value, kind):
        raise ArgumentTypeError(f"{argument(name)} of type {type(value).__name__}", expected, advice)


def check_key(name: str, key: PRNGKey | Any) -> None:
    """Check that an argument is one PRNG key, of the new or the old style.

    Raises:
      ArgumentTypeError: it is not a key.

    >>> check_key("key", 0)
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentTypeError: got key of type int; expected a PRNG key; make it by jax.random.key(seed)
    """
    if isinstance(key, jax.Array | np.ndarray):
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
            fits, what = key.ndim == 0, f"of shape {list(key.shape)}"
        else:
            fits, what = key.dtype == np.uint32 and key.ndim == 1, f"of dtype {key.dtype} and shape {list(key.shape)}"
    else:
        fits, what = False, f"of type {type(key).__name__}"
    if not fits:
        raise ArgumentTypeError(f"{argument(name)} {what}", "a PRNG key", "make it by jax.random.key(seed)")


def given_array(name: str, value: object, what: str = "") -> np.ndarray:
    """Convert an argument, an array or nested lists, to a NumPy array.

    Args:
      name: name of the argument.
      value: what was given for it.
      what: what it is, for the error; by default the name.

    Raises:
      ArgumentTypeError: it cannot be an array of one kind, such as rows of several lengths.
      ArgumentError: some of its values are masked.

    >>> given_array("labels", [[1], [2, 3]])
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentTypeError: got labels of type list that are not an array; expected rows of one length,
    of numbers, texts or truth values; see what np.asarray makes of it
    """
    what = what or name
    check_unmasked(value, what)
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ArgumentTypeError(
            f"{what} of type {type(value).__name__} that are not an array",
            "rows of one length, of numbers, texts or truth values",
            "see what np.asarray makes of it",
            name,
        ) from error
    return array
