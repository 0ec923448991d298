"""The limits of a request: its size and its time."""

from dataclasses import dataclass

from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument
from jaxunreg.integers import check_integer


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one request.

    Attributes:
      max_bytes: most bytes of the body.
      max_pixels: most pixels of an image.
      timeout: most seconds from the head of a request to its answer.

    Raises:
      ArgumentError, ArgumentTypeError: a limit is not a number, or allows nothing.

    >>> Limits(timeout=0.0)
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got timeout=0.0; expected above 0, and at most 3600; give seconds
    """

    max_bytes: int = 2**25
    max_pixels: int = 2**25
    timeout: float = 30.0

    def __post_init__(self) -> None:
        check_integer("max_bytes", self.max_bytes, at_least=1)
        check_integer("max_pixels", self.max_pixels, at_least=1)
        if isinstance(self.timeout, bool) or not isinstance(self.timeout, int | float):
            kind = type(self.timeout).__name__
            raise ArgumentTypeError(f"{argument('timeout', self.timeout)} of type {kind}", "a number", "give seconds")
        if not 0.0 < self.timeout <= 3600.0:
            raise ArgumentError(argument("timeout", self.timeout), "above 0, and at most 3600", "give seconds")
