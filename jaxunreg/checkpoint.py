"""Weights and config together on disk, through orbax and without pickle."""

import contextlib
import dataclasses
import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jaxunreg.autoencoder import Autoencoder, AutoencoderConfig
from jaxunreg.files import held
from jaxunreg.scoring import Model
from jaxunreg.typing import PyTree, Variables
from jaxunreg.vae import VAE, VAEConfig

FORMAT = 1

_MODELS: dict[str, tuple[Any, Any]] = {
    "vae": (VAE, VAEConfig),
    "autoencoder": (Autoencoder, AutoencoderConfig),
}


class CheckpointError(Exception):
    """A checkpoint that is missing, cut short, altered, or of another config than the one asked for."""


def describe_model(model: Model) -> dict[str, Any]:
    """Kind and config of a model as JSON data, from which `build_model` makes it again.

    Raises:
      TypeError: a model of another kind than `VAE` and `Autoencoder`.

    >>> from jaxunreg import VAE, VAEConfig
    >>> describe_model(VAE(VAEConfig(latent_dim=20)))["config"]["latent_dim"]
    20
    """
    for kind, (model_class, _) in _MODELS.items():
        if type(model) is model_class:
            return {"kind": kind, "config": to_json(dataclasses.asdict(model.config))}
    raise TypeError(f"got a model of type {type(model).__name__}; expected one of {sorted(_MODELS)}")


def build_model(description: dict[str, Any]) -> Model:
    """The model that `describe_model` described.

    Raises:
      CheckpointError: an unknown kind, or a config that this version does not know.

    >>> from jaxunreg import VAE, VAEConfig
    >>> model = VAE(VAEConfig(latent_dim=20))
    >>> build_model(describe_model(model)) == model
    True
    """
    try:
        model_class, config_class = _MODELS[description["kind"]]
        fields = {
            name: tuple(value) if isinstance(value, list) else value for name, value in description["config"].items()
        }
        return model_class(config_class(**fields))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"got a model description that cannot be built: {error}; expected one of the kinds {sorted(_MODELS)} "
            "with the config of this version of jaxunreg"
        ) from error


def to_json(value: Any) -> Any:
    """Plain JSON data: tuples become lists, NumPy scalars become Python's.

    >>> to_json({"image_shape": (32, 32, 3)})
    {'image_shape': [32, 32, 3]}
    """
    if isinstance(value, dict):
        return {str(name): to_json(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    return value


def fingerprint(tree: PyTree) -> str:
    """SHA-256 over the names, shapes, dtypes and bytes of a pytree's arrays.

    >>> import numpy as np
    >>> fingerprint({"a": np.zeros(3, np.float32)}) == fingerprint({"b": np.zeros(3, np.float32)})
    False
    """
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{array.shape}{array.dtype.str}".encode())
        # As a view, since a copy of a memory-mapped file may be larger than the memory.
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


@contextlib.contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Be the only run that writes into a folder, until the body ends or the process does.

    Where the file system has no locks, a warning says so.

    Raises:
      CheckpointError: another run is writing there.
    """
    with contextlib.ExitStack() as stack:
        try:
            certainly = stack.enter_context(held(directory))
        except BlockingIOError as error:
            raise CheckpointError(
                f"got {directory}, into which another run is writing right now; expected a folder of its own for each; "
                "wait until that run has ended and start again, or choose another folder"
            ) from error
        if not certainly:
            warnings.warn(f"{directory} cannot be locked; keep other runs out of it until this one ends", stacklevel=2)
        yield


class Checkpoints:
    """The checkpoints of one training run: `DIRECTORY/<step>/`, the newest few of them.

    Each holds three items: `variables` (parameters and batch statistics), `rest` (what else training needs to go on)
    and `config` (JSON: the model, the training config, the step, and a SHA-256 of both trees). Orbax writes into a
    temporary folder and renames it, so a run that is killed while saving leaves the previous checkpoint as the last.

    Args:
      directory: created if it does not exist.
      keep: how many of the newest are kept.
      alone: refuse other runs that ask for the same, until this is closed.
      advice: what to do about one that is damaged.

    Raises:
      CheckpointError: the directory cannot be written, or another run is alone in it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep: int = 2,
        alone: bool = False,
        advice: str = "delete that folder to go on from the one before, or train again",
    ) -> None:
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
                f"got {self.directory}, which cannot be used for checkpoints: {error}; expected a writable folder; "
                "choose another one"
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()
        self._hold.close()

    @property
    def latest_step(self) -> int | None:
        """Step of the newest checkpoint, `None` where there is none."""
        return self._manager.latest_step()

    def save(self, step: int, variables: Variables, rest: PyTree, config: dict[str, Any]) -> None:
        """Write a checkpoint; it is there whole or not at all.

        Raises:
          CheckpointError: it could not be written, e.g. since the disk is full, or there is a later one.
        """
        meta = {
            "format": FORMAT,
            "step": step,
            "config": to_json(config),
            "sha256": {"variables": fingerprint(variables), "rest": fingerprint(rest)},
        }
        try:
            saved = self._manager.save(
                step,
                args=ocp.args.Composite(
                    variables=ocp.args.StandardSave(jax.tree.map(np.asarray, variables)),
                    rest=ocp.args.StandardSave(jax.tree.map(np.asarray, rest)),
                    config=ocp.args.JsonSave(meta),
                ),
            )
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"got an error while writing the checkpoint of step {step} to {self.directory}: {error}; "
                f"the last good checkpoint is that of step {self.latest_step}; free some disk space or choose another "
                "folder, and start again to go on from there"
            ) from error
        if not saved:
            raise CheckpointError(
                f"got step {step} to save in {self.directory}; expected one above {self.latest_step}, the latest "
                "there; choose another folder"
            )

    def config(self, step: int) -> dict[str, Any]:
        """What was given as `config` when step `step` was saved.

        Raises:
          CheckpointError: it is missing or damaged.
        """
        return self._meta(step)["config"]

    def restore(self, step: int, variables: Variables, rest: PyTree) -> tuple[Variables, PyTree]:
        """Read a checkpoint back.

        Args:
          step: which one.
          variables: a tree of the same structure, shapes and dtypes (arrays or `jax.ShapeDtypeStruct`).
          rest: likewise.

        Returns:
          `variables` and `rest` as they were saved, bit for bit.

        Raises:
          CheckpointError: it is missing, cut short, altered, or of other shapes.
        """
        trees = self._restore(step, variables=variables, rest=rest)
        return trees["variables"], trees["rest"]

    def restore_variables(self, step: int, variables: Variables) -> Variables:
        """Read only the variables of a checkpoint back; arguments and errors as in `restore`."""
        return self._restore(step, variables=variables)["variables"]

    def _restore(self, step: int, **like: PyTree) -> dict[str, PyTree]:
        wanted = self._meta(step)["sha256"]
        items = {name: ocp.args.StandardRestore(jax.tree.map(_abstract, tree)) for name, tree in like.items()}
        trees = {name: self._read(step, **{name: item})[name] for name, item in items.items()}
        for name, tree in trees.items():
            if fingerprint(tree) != wanted[name]:
                raise self._damaged(step, f"the contents of '{name}' do not match their SHA-256")
        return trees

    def _meta(self, step: int) -> dict[str, Any]:
        meta = self._read(step, config=ocp.args.JsonRestore())["config"]
        if not isinstance(meta, dict) or meta.get("format") != FORMAT:
            raise self._damaged(step, f"expected format {FORMAT} in its config")
        return meta

    def _read(self, step: int, **items: Any) -> Any:
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**items))
        # Orbax and tensorstore raise what comes to hand when files are missing or cut short.
        except Exception as error:
            # What follows in them are objects of theirs.
            lines = str(error).split("<", 1)[0].strip().splitlines()
            raise self._damaged(step, lines[0] if lines else type(error).__name__) from error

    def _damaged(self, step: int, reason: str) -> CheckpointError:
        return CheckpointError(
            f"got a checkpoint that cannot be read, {self.directory / str(step)}: {reason}; expected one that this "
            f"version of jaxunreg saved and nothing changed since; {self._advice}"
        )


def save_model(directory: str | Path, model: Model, variables: Variables) -> None:
    """Save a trained model: weights and config together, without pickle.

    Args:
      directory: a folder that does not exist yet, or is empty.
      model: a `VAE` or an `Autoencoder`.
      variables: its variables, as `init` and training make them.

    Raises:
      ValueError: variables of another model, or such as `jaxunreg.scoring.fold` makes.
      CheckpointError: the folder is not empty or cannot be written.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju, tempfile
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ju.save_model(folder, model, variables)
    ...     again, _ = ju.load_model(folder)
    >>> again == model
    True
    """
    _check_variables(model, variables)
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CheckpointError(f"got {directory}, which is already used; expected a new or empty folder")
    with Checkpoints(directory, keep=1) as checkpoints:
        checkpoints.save(0, variables, _NOTHING, {"model": describe_model(model)})


def load_model(directory: str | Path) -> tuple[Model, Variables]:
    """Load what `save_model` saved, or the newest checkpoint of a training run (`RUN/checkpoints`).

    Args:
      directory: the folder.

    Returns:
      The model, built from the config that lies with the weights, and its variables.

    Raises:
      CheckpointError: nothing is there, it is cut short or altered, or it is of a sweep.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise CheckpointError(f"got {directory}, which is not a folder; expected one that `save_model` wrote")
    advice = "copy it again, or train again into another folder"
    with Checkpoints(directory, advice=advice) as checkpoints:
        step = checkpoints.latest_step
        if step is None:
            raise CheckpointError(
                f"got {directory}, which has no checkpoint in it; expected one that was saved there; {advice}"
            )
        config = checkpoints.config(step)
        if "members" in config:
            raise CheckpointError(
                f"got {directory}, the checkpoints of a sweep of {len(config['members'])} members; expected those of "
                "one model; run the sweep again, which reads them, and save what `SweepResult.variables` returns"
            )
        model = build_model(config["model"])
        return model, checkpoints.restore_variables(step, _variables_like(model))


def _variables_like(model: Model) -> Variables:
    """Structure, shapes and dtypes of a model's variables."""
    images = jax.ShapeDtypeStruct((1, *model.config.image_shape), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)


def _check_variables(model: Model, variables: Variables) -> None:
    def shapes(tree: PyTree) -> dict[str, tuple[int, ...]]:
        return {jax.tree_util.keystr(path): np.shape(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}

    found, wanted = shapes(variables), shapes(_variables_like(model))
    differing = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
    if differing:
        name = differing[0]
        raise ValueError(
            f"got variables that are not the model's: {name} is {found.get(name, 'missing')}, expected "
            f"{wanted.get(name, 'none')} ({len(differing)} differ in all); give those that `init` or training made for "
            "this model"
        )


_NOTHING = {"empty": np.zeros((), np.int32)}


def _alone() -> ocp.options.MultiprocessingOptions:
    """Orbax is to wait for no other process: one writes, and any may read."""
    process = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}, barrier_sync_key_prefix=f"process_{process}"
    )


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device)
