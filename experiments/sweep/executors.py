"""Executors, which train groups of trials: what every executor offers, and the one of this process."""

from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from .groups import Group, Images, Outcome
from .training import train_group

Outcomes: TypeAlias = list[Outcome] | str
"""The outcome of each trial of a group, or a text on how its worker died."""


class Executor(Protocol):
    """An executor trains groups, `workers` at a time. Use it as a context."""

    @property
    def workers(self) -> int:
        """Number of groups that can run at a time."""
        ...

    def prepare(self, images: Images, directory: Path | None) -> None:
        """Distribute the images of all groups, and set the folder of their checkpoints; None keeps no checkpoints."""

    def submit(self, group: Group) -> None:
        """Start the training of a group. Call `prepare` first."""

    def wait(self) -> tuple[Group, Outcomes]:
        """Wait until a group is done. At least one must have been submitted."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LocalExecutor:
    """An executor for one group after another in this process, with members spread over its devices.

    Args:
      progress: show a bar.
    """

    workers = 1

    def __init__(self, *, progress: bool) -> None:
        self._progress = progress
        self._groups: deque[Group] = deque()

    def prepare(self, images: Images, directory: Path | None) -> None:
        """Keep the images and the folder for the groups that follow."""
        self._images, self._directory = images, directory

    def submit(self, group: Group) -> None:
        """Queue a group. A later `wait` trains it."""
        self._groups.append(group)

    def wait(self) -> tuple[Group, Outcomes]:
        """Train the next group."""
        group = self._groups.popleft()
        title = f"{len(group.members)} trials, {len(self._groups)} groups wait" if self._groups else "sweep"
        return group, train_group(
            group, self._images, directory=self._directory, progress=self._progress, description=title
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._groups.clear()
