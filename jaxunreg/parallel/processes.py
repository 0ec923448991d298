"""Several processes that run one program: how they start, and what they tell each other."""

import functools
import hashlib
import json
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from jaxunreg.errors import ArgumentError, JaxunregError
from jaxunreg.padding import filled
from jaxunreg.typing import PyTree

T = TypeVar("T")


class ProcessError(JaxunregError, RuntimeError):
    """Another process of the program stopped with an error."""


def start(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    heartbeat_seconds: int = 100,
    start_seconds: int = 300,
) -> None:
    """Make this process one of several that run the same program; before anything else of JAX.

    Under SLURM, Open MPI and on TPU pods JAX finds the others by itself, and no argument is needed. After it,
    `jax.devices()` are those of all processes, `fit` trains on all of them, and a sharded scorer scores this process's
    own images. When a process dies, or ends with an error, the others end with an error within about
    `heartbeat_seconds`; start them all again to go on from the last checkpoint.

    Args:
      coordinator: address and port of process 0, `host:port`.
      processes: how many there are.
      process: which one this is, from 0.
      heartbeat_seconds: after which silence a process counts as dead.
      start_seconds: how long to wait for the others.

    Raises:
      ValueError: JAX finds no cluster, and not all arguments are given.
      RuntimeError: JAX has already been used, or the others did not come.
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
        raise ArgumentError(
            f"coordinator={coordinator!r}, processes={processes}, process={process} where JAX finds no cluster by "
            f"itself ({error})",
            "all three, or a start by SLURM (srun), Open MPI or on a TPU pod",
            field="coordinator",
        ) from error
    sys.excepthook = functools.partial(_end_at_once, sys.excepthook)


def _end_at_once(
    hook: Callable[..., Any], kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Say what happened and end, since Python's way out waits for the others, and they wait for this process."""
    hook(kind, error, trace)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def share(count: int) -> slice:
    """Which of `count` images this process feeds, such that each is fed by one, and in the order of the processes.

    >>> share(10)
    slice(0, 10, None)
    """
    process, processes = jax.process_index(), jax.process_count()
    return slice(count * process // processes, count * (process + 1) // processes)


def gather(tree: PyTree) -> PyTree:
    """The rows of all processes one after another, on each process; all of them must call it.

    Args:
      tree: arrays, whose first axis may have another length in each process.

    Returns:
      NumPy arrays of the same dtypes, 64 bits included.

    >>> import numpy as np
    >>> gather(np.arange(3)).tolist()
    [0, 1, 2]
    """
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, tree))
    if jax.process_count() > 1 and leaves:
        counts = multihost_utils.process_allgather(np.array([len(leaf) for leaf in leaves]))
        longest = counts.max(axis=0)
        alike = [filled(leaf, length) for leaf, length in zip(leaves, longest, strict=True)]
        # As bytes: JAX would make 32 bits of 64.
        parts = multihost_utils.process_allgather([np.frombuffer(leaf.tobytes(), np.uint8) for leaf in alike])
        leaves = [
            np.concatenate(
                [
                    np.frombuffer(np.asarray(part).tobytes(), leaf.dtype).reshape(leaf.shape)[:count]
                    for part, count in zip(rows, column, strict=True)
                ]
            )
            for leaf, rows, column in zip(alike, parts, counts.T, strict=True)
        ]
    return jax.tree.unflatten(structure, leaves)


def is_first(mesh: Mesh) -> bool:
    """Whether this process is the one that writes files and shows progress.

    >>> from jaxunreg.parallel.mesh import data_mesh
    >>> is_first(data_mesh())
    True
    """
    return not mesh.is_multi_process or jax.process_index() == 0


_MESSAGE_BYTES = 1024


def on_first(mesh: Mesh, action: Callable[[], T], otherwise: T) -> T:
    """Do something on the first process alone; the others wait for it, and stop where it fails.

    Args:
      mesh: from `data_mesh`.
      action: what to do.
      otherwise: what the others return.

    Raises:
      ProcessError: on the others, where `action` raised; the first raises what `action` raised.

    >>> from jaxunreg.parallel.mesh import data_mesh
    >>> on_first(data_mesh(), lambda: 3, 4)
    3
    """
    if not mesh.is_multi_process:
        return action()
    result, error = otherwise, None
    if is_first(mesh):
        try:
            result = action()
        except Exception as raised:
            error = raised
    said = f"{type(error).__name__}: {error}".encode()[:_MESSAGE_BYTES] if error else b""
    sent = np.frombuffer(said.ljust(_MESSAGE_BYTES, b"\0"), np.uint8)
    heard = np.asarray(multihost_utils.broadcast_one_to_all(sent)).astype(np.uint8).tobytes().rstrip(b"\0")
    if error is not None:
        raise error
    if heard:
        raise ProcessError(f"got an error in process 0: {heard.decode(errors='replace')}")
    return result


def from_first(mesh: Mesh, tree: PyTree) -> PyTree:
    """The arrays of the first process, on each.

    >>> from jaxunreg.parallel.mesh import data_mesh
    >>> import numpy as np
    >>> from_first(data_mesh(), np.arange(3)).tolist()
    [0, 1, 2]
    """
    if not mesh.is_multi_process:
        return tree
    return multihost_utils.broadcast_one_to_all(jax.tree.map(np.asarray, tree))


def check_same(mesh: Mesh, what: str, value: Any) -> None:
    """Stop where not all processes have the same JSON data, rather than train on a mixture.

    Raises:
      ValueError: on all of them.

    >>> from jaxunreg.parallel.mesh import data_mesh
    >>> check_same(data_mesh(), "model", {"depth": 4})
    """
    if not mesh.is_multi_process:
        return
    digest = hashlib.sha256(json.dumps(value, sort_keys=True).encode()).digest()
    digests = np.asarray(multihost_utils.process_allgather(np.frombuffer(digest, np.uint8)))
    others = np.flatnonzero((digests != digests[0]).any(axis=1)).tolist()
    if others:
        raise ArgumentError(
            f"another {what} in the processes {others} than in process 0",
            "the same in all",
            "give each process all images; it reads its own share of them",
            what,
        )
