"""A trained model on disk: its weights and its config together."""

import time
from pathlib import Path

import jax
import numpy as np

from jaxunreg.doors import check_kind
from jaxunreg.errors import ArgumentError, CheckpointError, argument
from jaxunreg.finite import check_finite
from jaxunreg.models.base import Model, variables_like
from jaxunreg.models.registry import build_model, describe_model
from jaxunreg.paths import given_path
from jaxunreg.training.checkpoints import Checkpoints
from jaxunreg.typing import PyTree, Variables

_ATTEMPTS = 20

_SECONDS_TO_REMOVE = 0.05


def save_model(directory: str | Path, model: Model, variables: Variables) -> None:
    """Save a trained model: weights and config together, without pickle.

    Args:
      directory: a folder that does not exist yet, or is empty.
      model: a registered model, such as a `VAE` or an `Autoencoder`.
      variables: its variables, from `init` or training.

    Raises:
      ArgumentError: the variables belong to another model, have another dtype, come from `jaxunreg.scoring.fold`, or
        are not finite.
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
    check_kind("model", model, Model, "a model such as a VAE", "make it by ju.VAE(ju.VAEConfig(...))")
    _check_variables(model, variables)
    directory = given_path("directory", directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise CheckpointError(f"{directory}, which is already used", "a new or empty folder", "choose another one")
    with Checkpoints(directory, keep=1) as checkpoints:
        checkpoints.save(0, variables, _NOTHING, {"model": describe_model(model)})


def load_model(directory: str | Path) -> tuple[Model, Variables]:
    """Load a model that `save_model` saved, or the newest checkpoint of a training run (`RUN/checkpoints`).

    Args:
      directory: the folder.

    Returns:
      The model, built from the config beside the weights, and its variables.

    Raises:
      CheckpointError: there is no checkpoint, it is cut short or altered, its variables are not finite, or it is of a
        sweep.
    """
    directory = given_path("directory", directory)
    for _ in range(_ATTEMPTS):
        before = _steps(directory)
        try:
            return _load_newest(directory)
        except CheckpointError:
            # A run that saves there removes its oldest checkpoint. That may be the one that is being read.
            time.sleep(_SECONDS_TO_REMOVE)
            if _steps(directory) == before:
                raise
    raise CheckpointError(
        f"{directory}, where a run replaces its checkpoints faster than they are read",
        "a checkpoint that stays",
        f"wait until that run has ended, or raise its {argument('checkpoint_every')} or {argument('keep_checkpoints')}",
    )


def _steps(directory: Path) -> set[str]:
    """Return the steps of the checkpoints in a folder."""
    return {path.name for path in directory.glob("*") if path.name.isdigit()}


def _load_newest(directory: Path) -> tuple[Model, Variables]:
    if not directory.is_dir():
        raise CheckpointError(f"{directory}, which is not a folder", "one that `save_model` wrote", "check the path")
    advice = "copy it again, or train again into another folder"
    with Checkpoints(directory, advice=advice) as checkpoints:
        step = checkpoints.latest_step
        if step is None:
            raise CheckpointError(f"{directory}, which has no checkpoint in it", "one that was saved there", advice)
        config = checkpoints.config(step)
        if "members" in config:
            raise CheckpointError(
                f"{directory}, the checkpoints of a sweep of {len(config['members'])} members",
                "those of one model",
                "run the sweep again: it reads them. Then save what `SweepResult.variables` returns",
            )
        model = build_model(config["model"])
        variables = checkpoints.restore_variables(step, variables_like(model))
    try:
        check_finite(variables)
    except ArgumentError as error:
        raise CheckpointError(f"{directory}, with {error.got}", error.expected, error.advice) from error
    return model, variables


def _check_variables(model: Model, variables: Variables) -> None:
    wanted, found = _kinds(variables_like(model)), _kinds(variables)
    differing = [name for name in {**wanted, **found} if found.get(name) != wanted.get(name)]
    if differing:
        name = differing[0]
        in_all = f"({len(differing)} differ in all)"
        if {key: kind[0] for key, kind in found.items()} == {key: kind[0] for key, kind in wanted.items()}:
            raise ArgumentError(
                f"variables of another dtype than the model's: {name} is {found[name][1]}",
                f"{wanted[name][1]} {in_all}",
                "convert them by `jax.tree.map`; the config's `precision` sets the dtype in which a model computes",
                field="variables",
            )
        raise ArgumentError(
            f"variables that do not belong to the model: {name} is {found.get(name, ['missing'])[0]}",
            f"{wanted.get(name, ['none'])[0]} {in_all}",
            "give those that `init` or training made for this model",
            field="variables",
        )
    check_finite(variables)


def _kinds(tree: PyTree) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape and dtype of each leaf by its path."""
    return {
        jax.tree_util.keystr(path): (np.shape(leaf), str(getattr(leaf, "dtype", type(leaf).__name__)))
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


_NOTHING = {"empty": np.zeros((), np.int32)}
