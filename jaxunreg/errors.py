"""The base class of all errors that this package raises on purpose, and how their texts name an argument.

An error carries what was got, what was expected and what to do as data. Each edge puts them into words for its reader:
Python by `str`, the command line by `JaxunregError.worded`, which turns the names of arguments into options.
"""

import re
from collections.abc import Callable
from typing import Any, ClassVar

# Private-use characters, which no name, number or sentence has. Between them stand a name and perhaps its value.
_OPEN, _BETWEEN, _CLOSE = "\ue000", "\ue001", "\ue002"

_ARGUMENT = re.compile(f"{_OPEN}([^{_CLOSE}{_BETWEEN}]*)(?:{_BETWEEN}([^{_CLOSE}]*))?{_CLOSE}")

Wording = Callable[[str, str | None], str]
"""The name of an argument and its value, or None without one, as a reader knows them."""


def argument(name: str, value: object = None) -> str:
    """A reference to an argument inside an error's text, in the words of whoever reads the error.

    Args:
      name: as in Python.
      value: what it was or should be; strings are quoted in Python.

    Returns:
      Text to put into `got`, `expected` or `advice` of a `JaxunregError`.

    >>> error = ArgumentError(argument("stride", 0), "at least 1", f"raise {argument('stride')}")
    >>> print(error)
    got stride=0; expected at least 1; raise stride
    >>> error.worded(lambda name, value: f"--{name}" if value is None else f"--{name} {value}")
    'got --stride 0; expected at least 1; raise --stride'
    """
    return f"{_OPEN}{name}{_CLOSE}" if value is None else f"{_OPEN}{name}{_BETWEEN}{value!r}{_CLOSE}"


def in_python(name: str, value: str | None) -> str:
    """An argument as a Python programmer knows it.

    >>> in_python("stride", "0"), in_python("stride", None)
    ('stride=0', 'stride')
    """
    return name if value is None else f"{name}={value}"


class JaxunregError(Exception):
    """The base of all errors that this package raises on purpose.

    `str(error)` is `got ...; expected ...; advice`. An error with a `got` alone, such as one that another library
    worded, is shown as it is.

    Args:
      got: what was found, without the word `got` in front. `argument` names an argument in it.
      expected: what would have been right, without the word `expected`.
      advice: what to do.
      field: name of the argument or of the file's entry that is wrong.

    Attributes:
      got: as above.
      expected: as above.
      advice: as above.
      field: as above; by default the first argument that `got` names.
    """

    leading: ClassVar[str] = "got "
    """The word in front of `got`."""

    def __init__(self, got: str, expected: str = "", advice: str = "", field: str | None = None) -> None:
        named = _ARGUMENT.search(got)
        self.got, self.expected, self.advice = got, expected, advice
        self.field = field if field is not None else named[1] if named else None
        # Other libraries, tyro among them, show an exception's first argument.
        super().__init__(str(self))

    def worded(self, wording: Wording) -> str:
        """The error in one sentence, with its arguments named as the reader knows them.

        Args:
          wording: from an argument's name and value to text.
        """
        parts = [
            f"{self.leading}{self.got}" if self.expected else self.got,
            f"expected {self.expected}" if self.expected else "",
            self.advice,
        ]
        text = "; ".join(part for part in parts if part)
        return _ARGUMENT.sub(lambda match: wording(match[1], match[2]), text)

    def __str__(self) -> str:
        return self.worded(in_python)

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        # By default an exception is pickled as its text, without the data.
        return type(self), (self.got, self.expected, self.advice, self.field)


class ArgumentError(JaxunregError, ValueError):
    """A value that is out of its range, or does not fit the others."""


class ArgumentTypeError(JaxunregError, TypeError):
    """A value of a kind that cannot be used."""


class MissingPackageError(JaxunregError, ImportError):
    """A package of an extra that is not installed."""


class CheckpointError(JaxunregError):
    """A checkpoint that is missing, cut short, altered, or of another config than the one asked for."""


class NonFiniteLossError(JaxunregError, FloatingPointError):
    """The loss or a parameter became NaN or infinite."""
