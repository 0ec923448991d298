"""The options of a command, and errors worded with them."""

import ast
import dataclasses
import functools
import inspect
import re
import shlex
from collections.abc import Callable, Collection, Iterator
from typing import Any, get_type_hints

from jaxunreg.errors import JaxunregError, Wording, in_python


class CommandError(JaxunregError):
    """Arguments of a command that cannot be used, or do not fit the files that are there."""


def option_names(command: Callable[..., Any]) -> frozenset[str]:
    """The Python names of a command's options: its keywords, and the fields of the configs among them.

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
    """A wording for `JaxunregError.worded` that names options; an argument that is no option keeps its Python name.

    Args:
      names: from `option_names`.

    >>> wording = with_options({"learning_rate", "start"})
    >>> wording("train.learning_rate", None), wording("start", "'linear'"), wording("patch", "96")
    ('--learning-rate', '--start linear', 'patch=96')
    """

    def worded(name: str, value: str | None) -> str:
        # An entry of a run's record, such as train.learning_rate, is named with the configs that it lies in.
        last = name.rpartition(".")[2]
        if last not in names:
            return in_python(name, value)
        option = f"--{last.replace('_', '-')}"
        return option if value is None else f"{option} {_typed(value)}"

    return worded


def _typed(value: str) -> str:
    """A Python literal as one types it in a shell.

    >>> _typed("'linear'"), _typed("''"), _typed("3e-05"), _typed("nan")
    ('linear', "''", '3e-05', 'nan')
    """
    return shlex.quote(ast.literal_eval(value)) if value[:1] in "'\"" else value


@functools.cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    from jaxunreg.inspection.config import DetectorConfig
    from jaxunreg.training.config import TrainConfig

    names = sorted(
        {
            *(field.name for config in (DetectorConfig, TrainConfig) for field in dataclasses.fields(config)),
            *("on_error", "color", "test_fraction", "heat_map_stride", "bootstrap"),
        },
        key=len,
        reverse=True,
    )
    return (
        re.compile(rf"\b({'|'.join(names)})(?:=| is )(['\"]?)([\w.+-]+)\2"),
        re.compile(rf"(?<![\w-])({'|'.join(name for name in names if '_' in name)})\b"),
        re.compile(rf"\b(?:model\.config|train)\.({'|'.join(names)})\b"),
    )


def as_options(message: str) -> str:
    """An error in one line, and in terms of the command line.

    >>> as_options("got stride=0; expected 1 to 96; or raise the false_positive_rate")
    'got --stride 0; expected 1 to 96; or raise the --false-positive-rate'
    >>> as_options("train.learning_rate was 3e-05, is now 0.001; model.config.depth was 5, is now 4")
    '--learning-rate was 3e-05, is now 0.001; --depth was 5, is now 4'
    """

    def option(name: str) -> str:
        return "--" + name.replace("_", "-")

    message = " ".join(message.split())
    assigned, named, prefixed = _patterns()
    message = prefixed.sub(lambda match: option(match[1]), message)
    message = assigned.sub(lambda match: f"{option(match[1])} {match[3]}", message)
    return named.sub(lambda match: option(match[1]), message)
