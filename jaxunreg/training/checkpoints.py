"""The checkpoints of a run on disk, through orbax and without pickle."""

import contextlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxunreg.errors import CheckpointError
from jaxunreg.files import held
from jaxunreg.serialization import fingerprint, with_checksum, without_checksum
from jaxunreg.training.quiet import quiet_orbax
from jaxunreg.typing import PyTree, Variables

FORMAT = 2


@contextlib.contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Be the only run that writes into a folder, until the body or the process ends.

    If the file system has no locks, warn.

    Raises:
      CheckpointError: another run is writing there.
    """
    with contextlib.ExitStack() as stack:
        try:
            certainly = stack.enter_context(held(directory))
        except BlockingIOError as error:
            raise CheckpointError(
                f"{directory}, where another run is writing right now",
                "a separate folder for each run",
                "wait until that run has ended and start again, or choose another folder",
            ) from error
        if not certainly:
            warnings.warn(f"{directory} cannot be locked; keep other runs out of it until this one ends", stacklevel=2)
        yield


class Checkpoints:
    """The newest checkpoints of one training run: `DIRECTORY/<step>/`.

    Each holds three items: `variables` (parameters and batch statistics), `rest` (what else training needs to go on)
    and `config` (JSON: the model, the training config, the step, and SHA-256 sums of each tree and of itself). Orbax
    writes into a temporary folder and renames it. So if a run is killed while saving, the previous checkpoint stays the
    last one.

    Args:
      directory: created if it does not exist.
      keep: how many of the newest are kept.
      alone: until this is closed, refuse other runs that ask to be alone.
      advice: what to do about a damaged checkpoint.

    Raises:
      CheckpointError: the directory cannot be written, or another run is alone in it.
    """

    @quiet_orbax()
    def __init__(
        self,
        directory: Path,
        *,
        keep: int = 2,
        alone: bool = False,
        advice: str = "delete that folder to go on from the one before, or train again",
    ) -> None:
        ocp = _orbax()

        self.directory = Path(directory).absolute()
        self._advice = advice
        self._hold = contextlib.ExitStack()
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if alone:
                self._hold.enter_context(alone_in(self.directory))
            self._manager = ocp.CheckpointManager(
                self.directory,
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=keep,
                    create=False,
                    enable_async_checkpointing=False,
                    multiprocessing_options=_alone(),
                ),
            )
        except OSError as error:
            raise CheckpointError(
                f"{self.directory}, which cannot be used for checkpoints: {error}",
                "a writable folder",
                "choose another one",
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    @quiet_orbax()
    def __exit__(self, *_: object) -> None:
        self._manager.close()
        self._hold.close()

    @property
    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, or `None`."""
        return self._manager.latest_step()

    @quiet_orbax()
    def save(self, step: int, variables: Variables, rest: PyTree, config: dict[str, Any]) -> None:
        """Write a checkpoint, whole or not at all.

        Raises:
          CheckpointError: it could not be written, e.g. because the disk is full, or there is a later checkpoint.
        """
        ocp = _orbax()

        meta = {
            "format": FORMAT,
            "step": step,
            "config": config,
            "trees": {"variables": fingerprint(variables), "rest": fingerprint(rest)},
        }
        try:
            saved = self._manager.save(
                step,
                args=ocp.args.Composite(
                    variables=ocp.args.StandardSave(jax.tree.map(np.asarray, variables)),
                    rest=ocp.args.StandardSave(jax.tree.map(np.asarray, rest)),
                    config=ocp.args.JsonSave(with_checksum(meta)),
                ),
            )
        except Exception as error:  # Orbax, TensorStore and asyncio raise many kinds for a full disk
            raise CheckpointError(
                f"an error while writing the checkpoint of step {step} to {self.directory}: {_first_words(error)}",
                f"to write it; the last good checkpoint is that of step {self.latest_step}",
                "free some disk space or choose another folder, and start again to go on from there",
            ) from error
        if not saved:
            raise CheckpointError(
                f"step {step} to save in {self.directory}",
                f"one above {self.latest_step}, the latest there",
                "choose another folder",
            )

    def config(self, step: int) -> dict[str, Any]:
        """Return the `config` with which step `step` was saved.

        Raises:
          CheckpointError: it is missing or damaged.
        """
        return self._meta(step)["config"]

    def restore(self, step: int, variables: Variables, rest: PyTree) -> tuple[Variables, PyTree]:
        """Read a checkpoint back.

        Args:
          step: the step of the checkpoint.
          variables: a tree of the same structure, shapes and dtypes (arrays or `jax.ShapeDtypeStruct`).
          rest: a tree like what was saved as `rest`, in the same way.

        Returns:
          `variables` and `rest` as they were saved, bit for bit.

        Raises:
          CheckpointError: it is missing, cut short, altered, or of other shapes.
        """
        trees = self._restore(step, variables=variables, rest=rest)
        return trees["variables"], trees["rest"]

    def restore_variables(self, step: int, variables: Variables) -> Variables:
        """Read back only the variables of a checkpoint. Arguments and errors are those of `restore`."""
        return self._restore(step, variables=variables)["variables"]

    def _restore(self, step: int, **like: PyTree) -> dict[str, PyTree]:
        ocp = _orbax()

        wanted = self._meta(step)["trees"]
        items = {name: ocp.args.StandardRestore(jax.tree.map(_abstract, tree)) for name, tree in like.items()}
        trees = {name: self._read(step, **{name: item})[name] for name, item in items.items()}
        for name, tree in trees.items():
            if fingerprint(tree) != wanted[name]:
                raise self._damaged(step, f"the contents of '{name}' do not match their SHA-256")
        return trees

    def _meta(self, step: int) -> dict[str, Any]:
        ocp = _orbax()

        meta = self._read(step, config=ocp.args.JsonRestore())["config"]
        if not isinstance(meta, dict) or meta.get("format") != FORMAT:
            raise self._damaged(step, f"expected format {FORMAT} in its config")
        try:
            return without_checksum(meta)
        except (ValueError, RecursionError) as error:
            raise self._damaged(step, f"its config: {error}") from error

    @quiet_orbax()
    def _read(self, step: int, **items: Any) -> Any:
        ocp = _orbax()

        try:
            return self._manager.restore(step, args=ocp.args.Composite(**items))
        # Orbax and tensorstore raise many kinds of errors when files are missing or cut short.
        except Exception as error:
            raise self._damaged(step, _first_words(error)) from error

    def _damaged(self, step: int, reason: str) -> CheckpointError:
        return CheckpointError(
            f"a checkpoint that cannot be read, {self.directory / str(step)}: {reason}",
            "one that this version of jaxunreg saved and that has not changed since",
            self._advice,
        )


def _first_words(error: Exception) -> str:
    """Return the first line of Orbax's message, without the objects that it prints after it."""
    lines = re.split(r"<| \[[a-z_]+(?:\[\d+\])?='", str(error), maxsplit=1)[0].strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _orbax() -> Any:
    """Return the package `orbax.checkpoint`. It takes half a second to import, and scoring does not need it."""
    import orbax.checkpoint

    return orbax.checkpoint


def _alone() -> Any:
    """Tell Orbax to wait for no other process: one process writes, and any may read."""
    ocp = _orbax()

    process = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}, barrier_sync_key_prefix=f"process_{process}"
    )


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device)
