"""Progress of a long task: a bar on a terminal, an occasional line in a log."""

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_T = TypeVar("_T")


class ProgressBar:
    """A progress bar on stderr, with values beside it and the time left.

    Without a terminal, as in a log file, it prints a line every `SECONDS_A_LINE` seconds.
    """

    SECONDS_A_LINE = 15.0

    def __init__(self, visible: bool, description: str, steps: int, step: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=Console(stderr=True),
            disable=not visible,
        )
        self._lines = visible and not self._progress.console.is_terminal
        self._last_line = time.monotonic()
        self._description, self._steps = description, steps
        self._task = self._progress.add_task(description, total=steps, completed=step, values="compiling")

    def __enter__(self) -> "ProgressBar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, step: int, values: str) -> None:
        """Move the bar to `step`, with `values` beside it."""
        self._progress.update(self._task, completed=step, values=values)
        if self._lines and time.monotonic() - self._last_line > self.SECONDS_A_LINE:
            self._last_line = time.monotonic()
            print(f"{self._description} {step}/{self._steps}  {values}", file=sys.stderr, flush=True)


def with_bar(items: Iterable[_T], total: int | None, description: str, *, visible: bool) -> Iterator[_T]:
    """Yield the items, with a progress bar on stderr, or an occasional line in a log file. stdout stays unused."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=Console(stderr=True),
        redirect_stdout=False,
        disable=not visible,
    )
    lines, last = visible and not bar.console.is_terminal, time.monotonic()
    with bar:
        task = bar.add_task(description, total=total)
        for done, item in enumerate(items, 1):
            yield item
            bar.advance(task)
            if lines and done != total and time.monotonic() - last > ProgressBar.SECONDS_A_LINE:
                last = time.monotonic()
                print(f"{description} {done}{'' if total is None else f'/{total}'}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def status(visible: bool, description: str) -> Iterator[None]:
    """Describe on stderr a task whose progress cannot be counted. In a log file, it is one line."""
    console = Console(stderr=True)
    if not visible:
        yield
    elif console.is_terminal:
        with console.status(description):
            yield
    else:
        print(description, file=sys.stderr, flush=True)
        yield
