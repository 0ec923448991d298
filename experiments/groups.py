"""A group of trials, trained in one program: what a worker of a sweep does, in this process or on a cluster."""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxunreg as ju
from experiments.toy_data import Data, score
from experiments.trials import trial_id
from jaxunreg.files import replacing
from jaxunreg.metrics.ranking import roc_auc
from jaxunreg.models.base import Model

MEMBER_FIELDS = ("learning_rate", "weight_decay", "kl_weight")
"""Of the training config, what the members of a group may have of their own; beside seed and latent size."""


class Images(NamedTuple):
    """What a worker needs of the toy data, uint8 `[n, height, width, channels]` each."""

    train: np.ndarray
    validation: np.ndarray
    validation_erased: np.ndarray
    normal: np.ndarray
    anomalous: np.ndarray

    @classmethod
    def of(cls, data: Data) -> "Images":
        """The images among the data."""
        return cls(data.train, data.validation, data.validation_erased, data.normal, data.anomalous.images)


class Group(NamedTuple):
    """Trials that one program trains.

    Attributes:
      model: the model of the largest latent size among them.
      train: what they share of the training.
      members: what each has of its own.
      configs: the whole configuration of each, as in the table of trials.
    """

    model: Model
    train: ju.TrainConfig
    members: tuple[ju.Member, ...]
    configs: tuple[dict[str, Any], ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The trials' ids."""
        return tuple(trial_id(config) for config in self.configs)

    @property
    def name(self) -> str:
        """A name for these trials in this order."""
        return trial_id({"trials": self.keys})[:16]

    def part(self, indices: Iterable[int]) -> "Group":
        """Some of the trials, at least one, padded no further than to the largest latent size among them."""
        indices = list(indices)
        members = [self.members[index] for index in indices]
        (found,) = ju.group_members([self.model] * len(members), members)
        return Group(found.model, self.train, found.members, tuple(self.configs[index] for index in indices))

    def halves(self) -> tuple["Group", "Group"]:
        """The first half of the trials and the rest."""
        middle = len(self.members) // 2
        return self.part(range(middle)), self.part(range(middle, len(self.members)))


class Outcome(NamedTuple):
    """What came of a trial: a result, or an error.

    Attributes:
      key: the trial's id.
      result: JSON data, see `train_group`.
      error: what went wrong.
    """

    key: str
    result: dict[str, Any] | None
    error: str | None


def build(config: Mapping[str, Any]) -> tuple[ju.VAE, ju.TrainConfig, ju.Member]:
    """What a trial's configuration describes.

    Args:
      config: JSON data with `network` (fields of `VAEConfig`), `train` (fields of `TrainConfig`) and `seed`.

    Returns:
      The model, the training config without what members have of their own, and the member.

    Raises:
      TypeError, ValueError: no such network, training or seed.
    """
    network: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in config["network"].items()
    }
    own = {name: config["train"][name] for name in MEMBER_FIELDS}
    shared = {name: value for name, value in config["train"].items() if name not in own}
    model = ju.VAE(ju.VAEConfig(**network))
    return model, ju.TrainConfig(**shared), ju.Member(seed=config["seed"], latent_dim=model.config.latent_dim, **own)


def group_trials(
    configs: Sequence[dict[str, Any]], *, group_size: int, workers: int
) -> tuple[list[Group], list[Outcome]]:
    """Sort trials into groups: one program each, no larger than `group_size`, and work for every worker.

    Args:
      configs: configurations of the trials.
      group_size: members of a group, at most.
      workers: how many groups can run at a time.

    Returns:
      The groups, and an error for each trial that cannot be built.
    """
    by_training: dict[ju.TrainConfig, list[tuple[ju.VAE, ju.Member, dict[str, Any]]]] = {}
    broken = []
    for config in configs:
        try:
            model, train, member = build(config)
        except (TypeError, ValueError) as error:
            broken.append(Outcome(trial_id(config), None, _describe(error)))
        else:
            by_training.setdefault(train, []).append((model, member, config))
    groups = []
    for train, trials in by_training.items():
        # Neighbours in latent size together, so that little is padded.
        trials.sort(key=lambda trial: trial[0].config.latent_dim)
        sorted_by_shape = ju.group_members([model for model, _, _ in trials], [member for _, member, _ in trials])
        for found in sorted_by_shape:
            group = Group(found.model, train, found.members, tuple(trials[index][2] for index in found.indices))
            size = len(found.members)
            count = max(-(-size // group_size), min(size, -(-workers // len(sorted_by_shape))))
            groups += [group.part(indices) for indices in np.array_split(range(size), count)]
    return groups, broken


def train_group(
    group: Group,
    images: Images,
    *,
    directory: Path | None,
    devices: Sequence[jax.Device] | None = None,
    progress: bool = False,
    description: str = "sweep",
) -> list[Outcome]:
    """Train and score a group; an error costs the trials that it comes from, and no other.

    A member whose loss is not finite fails by itself. Any other error, too little memory say, has the group tried again
    in halves, down to the trial that cannot be trained.

    Args:
      group: the trials.
      images: what to train on and to score.
      directory: where the group's folder with its checkpoints goes; training goes on from there if it was killed.
      devices: as in `fit_sweep`.
      progress: show a bar.
      description: the bar's title.

    Returns:
      An outcome for each trial. A result has `auc` with `validation` and `test`, each with `nelbo`, `d`, `a` and `m`;
      the means of these over the normal test images, in nats, as `mean_nats`; the `seconds` of the group since it was
      last begun, and its `members`; and the `worker`, the `device` and the `versions` behind it.
    """
    try:
        return _train(group, images, directory, devices, progress, description)
    except Exception as error:
        if len(group.members) == 1:
            return [Outcome(group.keys[0], None, _describe(error))]
    return [
        outcome
        for half in group.halves()
        for outcome in train_group(
            half, images, directory=directory, devices=devices, progress=progress, description=description
        )
    ]


def remove_checkpoints(directory: Path, group: Group) -> None:
    """Remove the checkpoints of a group and of its parts, once their results are written; its metrics stay."""
    for checkpoints in (directory / group.name).glob("part-*/checkpoints"):
        shutil.rmtree(checkpoints, ignore_errors=True)
    if len(group.members) > 1:
        for half in group.halves():
            remove_checkpoints(directory, half)


def _train(
    group: Group,
    images: Images,
    directory: Path | None,
    devices: Sequence[jax.Device] | None,
    progress: bool,
    description: str,
) -> list[Outcome]:
    began = time.perf_counter()
    worker = f"{socket.gethostname()}:{os.getpid()}"
    folder = None if directory is None else directory / group.name
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "worker.json") as temporary:
            temporary.write_text(json.dumps({"worker": worker, "pid": os.getpid(), "began": time.time()}))
    result = ju.fit_sweep(
        group.model,
        images.train,
        group.train,
        group.members,
        directory=folder,
        devices=devices,
        progress=progress,
        description=description,
    )
    about = {
        "members": len(group.members),
        "group": group.name,
        "worker": worker,
        "device": jax.local_devices()[0].device_kind,
        "versions": {"jax": jax.__version__, "jaxunreg": ju.__version__},
    }
    outcomes = []
    for index, key in enumerate(group.keys):
        if index in result.failures:
            outcomes.append(Outcome(key, None, f"NonFiniteLossError: {result.failures[index]}"))
            continue
        # Padded to the largest latent size, so that one program scores all.
        variables = jax.tree.map(lambda leaf, index=index: leaf[index], result.stacked)
        scorer = ju.make_scorer(result.model, variables)
        validation = score(scorer, images.validation, images.validation_erased)
        test = score(scorer, images.normal, images.anomalous)
        outcomes.append(
            Outcome(
                key,
                {
                    "auc": {
                        split: {name: roc_auc(*pair, bootstrap=1).value for name, pair in scores.items()}
                        for split, scores in (("validation", validation), ("test", test))
                    },
                    "mean_nats": {name: float(np.mean(pair[0], dtype=np.float64)) for name, pair in test.items()},
                    **about,
                },
                None,
            )
        )
    seconds = time.perf_counter() - began
    return [
        outcome._replace(result={**outcome.result, "seconds": seconds}) if outcome.result else outcome
        for outcome in outcomes
    ]


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
