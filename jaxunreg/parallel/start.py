"""The start of several processes that run one program."""

import functools
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

import jax

from jaxunreg.errors import ArgumentError


def start(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    heartbeat_seconds: int = 100,
    start_seconds: int = 300,
) -> None:
    """Make this process one of several that run the same program. Call it before any other function of JAX.

    Under SLURM, Open MPI and on TPU pods JAX finds the other processes by itself, and no argument is needed.
    Afterwards, `jax.devices()` are the devices of all processes, `fit` trains on all of them, and a sharded scorer
    scores this process's own images. When a process dies or ends with an error, the others end with an error within
    about `heartbeat_seconds`. Start all of them again to go on from the last checkpoint.

    Args:
      coordinator: address and port of process 0, `host:port`.
      processes: the number of processes.
      process: the number of this process, from 0.
      heartbeat_seconds: a process that is silent for so long counts as dead.
      start_seconds: how long to wait for the other processes.

    Raises:
      ArgumentError: JAX finds no cluster, and not all of the first three arguments are given.
      RuntimeError: JAX has already been used, or another process did not start in time.
    """
    try:
        jax.distributed.initialize(
            coordinator,
            processes,
            process,
            initialization_timeout=start_seconds,
            heartbeat_timeout_seconds=heartbeat_seconds,
        )
    except ValueError as error:
        given = {"coordinator": coordinator, "processes": processes, "process": process}
        named = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise ArgumentError(
            f"{named} where JAX finds no cluster by itself ({error})",
            "all three, or a start by SLURM (srun), Open MPI or on a TPU pod",
            "give all three",
            field="coordinator",
        ) from error
    sys.excepthook = functools.partial(_end_at_once, sys.excepthook)


def _end_at_once(
    hook: Callable[..., Any], kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Report the error and end at once. Python's own exit waits for the other processes, which wait for this one."""
    hook(kind, error, trace)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
