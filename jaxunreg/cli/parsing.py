"""The parser, which makes a command of the words of a command line."""

import contextlib
import functools
import importlib
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, TypeAlias

import tyro

from jaxunreg.errors import JaxunregError

Command: TypeAlias = Callable[..., int]
"""A function that runs a command and returns an exit code."""

DESCRIPTION = """\
Find anomalies in images, and learn from normal images only.

  jaxunreg fit good_parts --output model              learn from a folder of normal images
  jaxunreg score new_parts --model model              a score, a p-value and a verdict for each image
  jaxunreg evaluate labelled_parts --model model      how good it is on known defects
  jaxunreg recalibrate model --normal more_parts      a new threshold, without training
  jaxunreg serve model                                score images that are sent over HTTP
  jaxunreg watch incoming --model model --output log  score each image that arrives in a folder
  jaxunreg export model --output exported             the whole detector for ONNX Runtime, or as StableHLO
  jaxunreg demo                                       fit, score and evaluate on generated parts

Results go to stdout, everything else to stderr. Each command has a --help; --version prints the version.
"""

COMMANDS: Mapping[str, str] = {
    "fit": "Learn from a folder of normal images.",
    "score": "Score images by a model that `fit` made.",
    "evaluate": "See how well a model does on a labelled folder.",
    "recalibrate": "Set a new threshold from more good parts, without training.",
    "serve": "Score images that are sent over HTTP.",
    "watch": "Score each image that arrives in a folder, once.",
    "export": "Write a whole detector for programs without this package.",
    "demo": "See the other commands work, on generated parts.",
}
"""The first line of each command's docstring, so that `jaxunreg --help` need not import the commands.

The command NAME is the function NAME of the module `jaxunreg.cli.NAME`, and HELP there is its help.
"""

_TYRO: Mapping[str, Any] = {"config": (tyro.conf.OmitArgPrefixes,)}


class RefusedError(Exception):
    """A config refused the values of a command line.

    Attributes:
      reason: the error of the config.
    """

    def __init__(self, reason: JaxunregError) -> None:
        super().__init__(str(reason))
        self.reason = reason


def command_of(words: Sequence[str]) -> Command | None:
    """Return the command that a command line names, or None."""
    return getattr(_module(words[0]), words[0]) if words and words[0] in COMMANDS else None


def parsed(words: Sequence[str]) -> Callable[[], int]:
    """Return the command that a command line names, with its arguments.

    Raises:
      RefusedError: a config refuses its values.
      SystemExit: the command line is wrong (2), or asks for help (0).
    """
    outside, shown = sys.exception(), io.StringIO()
    parse = _parser(words)
    try:
        with contextlib.redirect_stderr(shown):
            return parse()
    except SystemExit as stop:
        # tyro shows a config's error with Python names, and only says that it exits.
        error: BaseException | None = stop
        while error is not outside and error is not None:
            if isinstance(error, JaxunregError):
                raise RefusedError(error) from error
            error = error.__context__
        print(shown.getvalue(), end="", file=sys.stderr)
        raise


def _parser(words: Sequence[str]) -> Callable[[], Callable[[], int]]:
    command = command_of(words)
    if command is not None:
        name = words[0]
        description = _module(name).HELP
        return lambda: tyro.cli(
            _bound(command), prog=f"jaxunreg {name}", description=description, args=words[1:], **_TYRO
        )
    # Without a command, only the list of commands is shown, unless a wrong option needs a search for similar ones.
    listed = set(words) <= {"-h", "--help"}
    commands = {name: _listed(name) if listed else _bound(getattr(_module(name), name)) for name in COMMANDS}
    return lambda: tyro.extras.subcommand_cli_from_dict(
        commands, prog="jaxunreg", description=DESCRIPTION, args=words, **_TYRO
    )


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"jaxunreg.cli.{name}")


def _bound(command: Command) -> Callable[..., Callable[[], int]]:
    """Return a function with a command's signature that binds the arguments. The caller makes the call."""

    @functools.wraps(command)
    def bound(*args: Any, **kwargs: Any) -> Callable[[], int]:
        return functools.partial(command, *args, **kwargs)

    return bound


def _listed(name: str) -> Callable[[], Callable[[], int]]:
    """Return a placeholder for a command in the list of commands."""

    def listed() -> Callable[[], int]:
        raise AssertionError("a list of commands was called")

    listed.__doc__ = COMMANDS[name]
    return listed
