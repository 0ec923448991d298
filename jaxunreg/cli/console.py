"""The messages of the commands, on stderr, so that stdout has only results."""

import contextlib
import logging
import sys
import traceback
import warnings
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from jaxunreg.text import printable


def say(text: str) -> None:
    """Print a line on stderr unchanged: without markup, colours and emojis."""
    _print(text, markup=False)


def say_error(message: str) -> None:
    """Print an error on one line of stderr."""
    _print(f"[bold red]error:[/] {escape(' '.join(message.split()))}", markup=True)


def show_traceback(error: BaseException) -> None:
    """Print where an error came from on stderr."""
    for part in traceback.format_exception(error):
        for line in part.splitlines():
            print(printable(line), file=sys.stderr)


@contextlib.contextmanager
def logging_on_stderr() -> Iterator[None]:
    """Print the log of the data sets (gray or RGB, each skipped file) and warnings on stderr."""
    logger, handler = logging.getLogger("jaxunreg.datasets"), _ToStderr()
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: say(f"warning: {' '.join(str(message).split())}")
            yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


class _ToStderr(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(("skipped: " if record.levelno >= logging.WARNING else "") + record.getMessage())


def _print(text: str, *, markup: bool) -> None:
    Console(stderr=True, emoji=False).print(printable(text), soft_wrap=True, highlight=False, markup=markup)
