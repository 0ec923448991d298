"""The base class of all errors that this package raises on purpose, and references to arguments in their texts.

An error carries what was got, what was expected and what to do as data. Each edge words them for its readers: Python by
`str`, and the command line by `JaxunregError.worded`, which turns the names of arguments into options.
"""

import re
from collections.abc import Callable
from typing import Any, ClassVar

# Private-use characters, which no name, number or sentence contains. A name, perhaps with its value, stands between
# them.
_OPEN, _BETWEEN, _CLOSE = "\ue000", "\ue001", "\ue002"

_ARGUMENT = re.compile(f"{_OPEN}([^{_CLOSE}{_BETWEEN}]*)(?:{_BETWEEN}([^{_CLOSE}]*))?{_CLOSE}")

Wording = Callable[[str, str | None], str]
"""A function from the name of an argument and its value, or None, to the words of a reader."""


def argument(name: str, value: object = None) -> str:
    """Make a reference to an argument for an error's text. Each reader sees it in familiar words.

    Args:
      name: name of the argument in Python.
      value: its actual or right value; Python quotes strings.

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
    """Word an argument for a Python programmer.

    >>> in_python("stride", "0"), in_python("stride", None)
    ('stride=0', 'stride')
    """
    return name if value is None else f"{name}={value}"


class JaxunregError(Exception):
    """The base of all errors that this package raises on purpose.

    `str(error)` is `got ...; expected ...; advice`. An error that has only `got`, such as the text of another library,
    is shown unchanged.

    Args:
      got: what was found, without the word `got` in front. `argument` names an argument in it.
      expected: what would be right, without the word `expected`.
      advice: what to do.
      field: name of the argument or of the file's entry that is wrong.

    Attributes:
      got: as above.
      expected: as above.
      advice: as above.
      field: as above; by default the first argument that `got` names.
    """

    leading: ClassVar[str] = "got "
    """The word before `got`."""

    def __init__(self, got: str, expected: str = "", advice: str = "", field: str | None = None) -> None:
        named = _ARGUMENT.search(got)
        self.got, self.expected, self.advice = got, expected, advice
        self.field = field if field is not None else named[1] if named else None
        # Other libraries, tyro among them, show an exception's first argument.
        super().__init__(str(self))

    def worded(self, wording: Wording) -> str:
        """Word the error in one sentence, with its arguments named for the reader.

        Args:
          wording: makes text of an argument's name and value.
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
        # By default, an exception is pickled as its text, without the data.
        return type(self), (self.got, self.expected, self.advice, self.field)


class ArgumentError(JaxunregError, ValueError):
    """A value is out of its range, or does not fit the others."""


class ArgumentTypeError(JaxunregError, TypeError):
    """A value is of a kind that cannot be used."""


class MissingPackageError(JaxunregError, ImportError):
    """A package of an extra is not installed."""


class CheckpointError(JaxunregError):
    """A checkpoint is missing, cut short, altered, or has another config than the requested one."""


class NonFiniteLossError(JaxunregError, FloatingPointError):
    """The loss or a parameter became NaN or infinite."""
