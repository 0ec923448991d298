"""Shares of the images, and communication, for several processes of one program."""

import hashlib
import json
from collections.abc import Callable
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


def share(count: int) -> slice:
    """Return which of `count` images this process reads. One process reads each image, in the order of the processes.

    >>> share(10)
    slice(0, 10, None)
    """
    process, processes = jax.process_index(), jax.process_count()
    return slice(count * process // processes, count * (process + 1) // processes)


def gather(tree: PyTree) -> PyTree:
    """Return the rows of all processes one after another, on each process. All processes must call it.

    Args:
      tree: arrays, whose first axis may have a different length in each process.

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
        # As bytes, because JAX would convert 64 bits to 32.
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
    """Return whether this process writes files and shows progress.

    >>> from jaxunreg.parallel.mesh import data_mesh
    >>> is_first(data_mesh())
    True
    """
    return not mesh.is_multi_process or jax.process_index() == 0


_MESSAGE_BYTES = 1024


def on_first(mesh: Mesh, action: Callable[[], T], otherwise: T) -> T:
    """Run an action only on the first process. The other processes wait for it, and fail if it fails.

    Args:
      mesh: from `data_mesh`.
      action: what to run.
      otherwise: the result on the other processes.

    Raises:
      ProcessError: on the other processes, if `action` raised. The first process raises the error of `action`.

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
        raise ProcessError(
            f"an error in process 0: {heard.decode(errors='replace')}",
            "none in any process",
            "remove its cause and start all processes again",
        )
    return result


def from_first(mesh: Mesh, tree: PyTree) -> PyTree:
    """Return the arrays of the first process, on each process.

    >>> import numpy as np
    >>> from jaxunreg.parallel.mesh import data_mesh
    >>> from_first(data_mesh(), np.arange(3)).tolist()
    [0, 1, 2]
    """
    if not mesh.is_multi_process:
        return tree
    return multihost_utils.broadcast_one_to_all(jax.tree.map(np.asarray, tree))


def check_same(mesh: Mesh, what: str, value: Any) -> None:
    """Refuse JSON data that is not the same in all processes.

    Args:
      mesh: from `data_mesh`.
      what: name of the data, for the error.
      value: JSON data.

    Raises:
      ArgumentError: on all processes, if the data differ between them.

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
            field=what,
        )
