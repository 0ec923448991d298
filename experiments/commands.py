"""Shared parts of the studies' command lines: options from a config, the command as text, and the end of a study."""

import dataclasses
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import tyro
from rich.console import Console
from rich.markup import escape

from jaxunreg.compilation import keep_compiled
from jaxunreg.errors import JaxunregError, Wording, in_python

console = Console(stderr=True)

ConfigT = TypeVar("ConfigT")

_PACKAGE = __name__.rpartition(".")[0]  # `experiments` in a clone, `jaxunreg.experiments` of a wheel


def parse(presets: Mapping[str, ConfigT], args: list[str], *, experiment: str, description: str | None) -> ConfigT:
    """Make the config from the command line: the preset's, overridden by the options.

    Args:
      presets: a config for each name; `quick` is the default.
      args: the command line.
      experiment: name of the package in `experiments`.
      description: the first text of `--help`.
    """
    preset = "quick"
    for position, arg in enumerate(args):
        if arg == "--preset" and position + 1 < len(args):
            preset = args[position + 1]
        elif arg.startswith("--preset="):
            preset = arg.removeprefix("--preset=")
    default = presets.get(preset, presets["quick"])
    return tyro.cli(
        type(default), args=args, default=default, prog=f"python -m {_PACKAGE}.{experiment}", description=description
    )


def command_line(experiment: str, args: list[str]) -> str:
    """Return the command that repeats the run."""
    return shlex.join(["python", "-m", f"{_PACKAGE}.{experiment}", *args])


def in_options(config_class: type) -> Wording:
    """Return the names of arguments on a study's command line: a field of its config is an option.

    Args:
      config_class: the dataclass of the study's settings.

    Returns:
      A wording for `JaxunregError.worded`.

    >>> Config = dataclasses.make_dataclass("Config", ["on_error"])
    >>> worded = in_options(Config)
    >>> worded("on_error", "'skip'"), worded("on_error", None), worded("other", "1")
    ('--on-error skip', '--on-error', 'other=1')
    """
    names = {field.name for field in dataclasses.fields(config_class)}

    def worded(name: str, value: str | None) -> str:
        if name not in names:
            return in_python(name, value)
        option = f"--{name.replace('_', '-')}"
        return option if value is None else f"{option} {value.strip(chr(39))}"

    return worded


def run_command(main: Callable[[], Any], config_class: type) -> None:
    """Run a study's `main` as a command.

    An error that the package raises on purpose, or that the operating system reports, ends the process with one line.
    After an interrupt, a line says how to go on. Any other error is a bug and shows its traceback.

    Args:
      main: runs the study.
      config_class: the dataclass of its settings, whose fields are options.
    """
    keep_compiled()
    try:
        main()
    except (JaxunregError, OSError) as error:
        text = error.worded(in_options(config_class)) if isinstance(error, JaxunregError) else str(error)
        console.print(f"[bold red]error:[/] {escape(text)}", soft_wrap=True, highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("stopped; start the same command again to go on from the last checkpoint")
        sys.exit(130)
