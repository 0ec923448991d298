"""One check of the arguments and fields that must be integers."""

import numpy as np

from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument

# Seeds of NumPy have this many bits. More bits have no meaning anywhere, and each library has its own errors for them.
_MOST_BITS = 128


def check_integer(name: str, value: object, *, at_least: int | None, advice: str | None = None) -> int:
    """Check that a value is an integer, and return it as a Python integer.

    Args:
      name: name of the argument or field.
      value: what was given for it.
      at_least: the lowest allowed value, or None if the caller checks that.
      advice: what to do if it is lower; default: to raise it.

    Raises:
      ArgumentTypeError: it is not an integer. A truth value is not one.
      ArgumentError: it is too low, or has more than 128 bits.

    >>> check_integer("n", 0, at_least=1, advice="ask for one image or more")
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got n=0; expected at least 1; ask for one image or more
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        kind = type(value).__name__
        raise ArgumentTypeError(f"{argument(name, value)} of type {kind}", "an integer", f"pass int({argument(name)})")
    if int(value).bit_length() > _MOST_BITS:
        bits = f"an integer of {int(value).bit_length()} bits for {argument(name)}"
        raise ArgumentError(bits, f"at most {_MOST_BITS} bits", f"lower {argument(name)}")
    if at_least is not None and value < at_least:
        raise ArgumentError(argument(name, value), f"at least {at_least}", advice or f"raise {argument(name)}")
    return int(value)
