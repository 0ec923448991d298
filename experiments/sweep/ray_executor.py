"""Groups of trials on a Ray cluster."""

import importlib
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax

import jaxunreg as ju
from jaxunreg.compilation import keep_compiled

from ..runs import RunError
from .executors import Outcomes
from .groups import Group, Images, Outcome
from .training import train_group

# For a cluster on this machine. Anybody who can connect to a cluster can run anything as its user. So it listens only
# on the loopback interface, as Ray does under this name, and asks other users of the machine for a token.
_OF_THIS_USER: Mapping[str, Callable[[], str]] = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": lambda: "0",
    "RAY_AUTH_MODE": lambda: "token",
    "RAY_AUTH_TOKEN": lambda: secrets.token_hex(32),
}


class RayExecutor:
    """An executor for one group on each accelerator of a Ray cluster, or on every few processors if there is none.

    Unless this process is already connected to Ray, it connects to the cluster at `RAY_ADDRESS`, or starts one on this
    machine and stops it at the end. The local cluster listens only on the loopback interface and asks for a token. A
    cluster at `RAY_ADDRESS` gets this package and `experiments`, so that all machines run the driver's code. They must
    have the packages that it depends on. The images go through Ray's object store once. Workers return small results
    and only the driver writes them, so the machines need not share a file system for the table.

    `wait` reports a worker that dies. Ray does not start it again, so each attempt is counted.

    Enter the context before JAX runs anything: Ray forks when it starts, and forking is unsafe with JAX's threads.

    Args:
      progress: forward what workers print.
      cpus_per_group: processors that a group asks for if there are no accelerators.

    Raises:
      RunError: Ray is not installed.
    """

    def __init__(self, *, progress: bool, cpus_per_group: int) -> None:
        # Ray reads its environment when it is imported.
        self._before = {name: os.environ.get(name) for name in _OF_THIS_USER}
        self._there = os.environ.get("RAY_ADDRESS", "local") != "local"
        if not self._there:
            os.environ.update({name: value() for name, value in _OF_THIS_USER.items() if name not in os.environ})
        try:
            import ray
        except ModuleNotFoundError as error:
            raise RunError(
                "--cluster ray without Ray", "the package to be installed", "run: pip install 'jaxunreg[cluster]'"
            ) from error
        self._ray, self._progress, self._cpus = ray, progress, cpus_per_group
        self._running: dict[Any, Group] = {}

    def __enter__(self) -> Self:
        ray = self._ray
        self._mine = not ray.is_initialized()
        if self._mine:
            # In an installed wheel, both are one package.
            modules = {importlib.import_module(name.partition(".")[0]) for name in (__name__, ju.__name__)}
            packages = [str(Path(str(module.__file__)).parent) for module in modules]
            ray.init(
                include_dashboard=None if self._there else False,
                log_to_driver=self._progress,
                runtime_env={"py_modules": packages} if self._there else None,
            )
        cluster = ray.cluster_resources()
        self._accelerator = next((name for name in ("GPU", "TPU") if cluster.get(name)), None)
        needs_of: dict[str | None, dict[str, Any]] = {
            None: {"num_cpus": self._cpus},
            "GPU": {"num_cpus": 0, "num_gpus": 1},
            "TPU": {"num_cpus": 0, "resources": {"TPU": 1}},
        }
        self._train = ray.remote(max_retries=0, **needs_of[self._accelerator])(_train_on_worker)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()
        if self._mine:
            self._ray.shutdown()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    @property
    def workers(self) -> int:
        """One group for each accelerator that the cluster has now, or for every few processors. It may grow."""
        cluster = self._ray.cluster_resources()
        count = cluster.get(self._accelerator, 0) if self._accelerator else cluster.get("CPU", 0) // self._cpus
        return max(1, int(count))

    def prepare(self, images: Images, directory: Path | None) -> None:
        """Put the images into the object store. All machines must share the folder."""
        self._shared, self._directory = self._ray.put(images), directory

    def submit(self, group: Group) -> None:
        """Start the training of a group as soon as an accelerator is free."""
        self._running[self._train.remote(group, self._shared, self._directory)] = group

    def wait(self) -> tuple[Group, Outcomes]:
        """Wait for the next group that is done or whose worker died."""
        (reference,), _ = self._ray.wait(list(self._running), num_returns=1)
        group = self._running.pop(reference)
        errors = self._ray.exceptions
        try:
            return group, self._ray.get(reference)
        except errors.RayTaskError as error:
            # Raised before training begins, for example by an import. Errors in training are outcomes.
            return group, [Outcome(key, None, f"on the worker: {error.cause!r}") for key in group.keys]
        except errors.RayError as error:
            return group, f"{type(error).__name__}: {str(error).splitlines()[0]}"


def _train_on_worker(group: Group, images: Images, directory: Path | None) -> list[Outcome]:
    keep_compiled()
    return train_group(group, images, directory=directory, devices=jax.local_devices()[:1])
