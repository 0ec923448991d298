"""The settings that must be the same for a run to go on, and their check."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from jaxunreg.errors import CheckpointError, argument
from jaxunreg.training.checkpoints import Checkpoints
from jaxunreg.training.config import TrainConfig

FREE_TO_CHANGE = frozenset(
    (
        *("images_on_device", "loader_threads"),
        *("steps_per_dispatch", "evaluate_every", "checkpoint_every", "keep_checkpoints"),
    )
)
"""Fields of `TrainConfig` that change no step. A run may go on with other values of these."""


def describe_config(config: TrainConfig) -> dict[str, Any]:
    """Return the fields of a training config that must be the same for a run to go on."""
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in FREE_TO_CHANGE}


def check_same_run(checkpoints: Checkpoints, step: int, wanted: dict[str, Any]) -> None:
    """Check that a checkpoint is of the run that is described.

    Raises:
      CheckpointError: it is of another run. The error lists the differences.
    """
    found = checkpoints.config(step)
    if wanted != found:
        names = sorted(_differences(found, wanted))
        raise CheckpointError(
            f"a run directory whose checkpoint {checkpoints.directory / str(step)} is of another run",
            "the same model, training config, key (or members) and images, but these differ: " + "; ".join(names),
            "choose another directory, or the old settings",
        )


def _differences(found: Any, wanted: Any, name: str = "") -> Iterator[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for part in sorted({*found, *wanted}):
            yield from _differences(found.get(part), wanted.get(part), f"{name}.{part}" if name else part)
    elif found != wanted:
        yield f"{argument(name)} was {found}, is now {wanted}"
