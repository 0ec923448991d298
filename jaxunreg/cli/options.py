"""The options of a command, and the wording of errors with them."""

import ast
import dataclasses
import inspect
import shlex
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_type_hints

import tyro

from jaxunreg.errors import JaxunregError, Wording, in_python

Directory: TypeAlias = Annotated[Path, tyro.conf.arg(metavar="DIR")]
"""A folder, as the help of a command shows it."""


class CommandError(JaxunregError):
    """Arguments of a command cannot be used, or do not fit the existing files."""


def option_names(command: Callable[..., Any]) -> frozenset[str]:
    """Return the Python names of a command's options: its keywords, and the fields of configs among them.

    >>> def command(files: str, *, seed: int, config: JaxunregError) -> None: ...
    >>> sorted(option_names(command))
    ['config', 'seed']
    """
    hints = get_type_hints(command)
    keywords = (
        parameter.name
        for parameter in inspect.signature(command).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    )
    return frozenset(name for keyword in keywords for name in _leaves(keyword, hints[keyword]))


def _leaves(name: str, kind: Any) -> Iterator[str]:
    if not dataclasses.is_dataclass(kind):
        yield name
        return
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        yield from _leaves(field.name, hints[field.name])


def with_options(names: Collection[str]) -> Wording:
    """Return a wording for `JaxunregError.worded` that names options. Other arguments keep their Python names.

    Args:
      names: from `option_names`.

    >>> wording = with_options({"learning_rate", "start"})
    >>> wording("train.learning_rate", None), wording("start", "'linear'"), wording("patch", "96")
    ('--learning-rate', '--start linear', 'patch=96')
    """

    def worded(name: str, value: str | None) -> str:
        # An entry of a run's record, such as train.learning_rate, is named with its configs.
        last = name.rpartition(".")[2]
        if last not in names:
            return in_python(name, value)
        option = f"--{last.replace('_', '-')}"
        return option if value is None else f"{option} {_typed(value)}"

    return worded


def _typed(value: str) -> str:
    """Return a Python literal as it is typed in a shell.

    >>> _typed("'linear'"), _typed("''"), _typed("3e-05"), _typed("nan")
    ('linear', "''", '3e-05', 'nan')
    """
    return shlex.quote(ast.literal_eval(value)) if value[:1] in "'\"" else value
