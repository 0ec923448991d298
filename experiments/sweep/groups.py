"""Groups of trials that one program trains, and the outcome of a trial."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

import jaxunreg as ju
from jaxunreg.models.base import Model

from ..toy_data import Data
from .trials import trial_id

MEMBER_FIELDS = ("learning_rate", "weight_decay", "kl_weight")
"""Fields of the training config that may differ within a group, besides the seed and the latent size."""


class Images(NamedTuple):
    """The images of the toy data that a worker needs, uint8 `[n, height, width, channels]` each."""

    train: np.ndarray
    validation: np.ndarray
    validation_erased: np.ndarray
    normal: np.ndarray
    anomalous: np.ndarray

    @classmethod
    def of(cls, data: Data) -> "Images":
        """Take the images from the data."""
        return cls(data.train, data.validation, data.validation_erased, data.normal, data.anomalous.images)


class Group(NamedTuple):
    """Trials that one program trains.

    Attributes:
      model: the model of the largest latent size among them.
      train: the training config that they share.
      members: the seed, the latent size and the hyper-parameters of each.
      configs: the whole configuration of each, as in the table of trials.
    """

    model: Model
    train: ju.TrainConfig
    members: tuple[ju.Member, ...]
    configs: tuple[dict[str, Any], ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The ids of the trials."""
        return tuple(trial_id(config) for config in self.configs)

    @property
    def name(self) -> str:
        """A name for these trials in this order."""
        return trial_id({"trials": self.keys})[:16]

    def part(self, indices: Iterable[int]) -> "Group":
        """Return a group of some of the trials, at least one, padded to their largest latent size."""
        indices = list(indices)
        members = [self.members[index] for index in indices]
        (found,) = ju.group_members([self.model] * len(members), members)
        return Group(found.model, self.train, found.members, tuple(self.configs[index] for index in indices))

    def halves(self) -> tuple["Group", "Group"]:
        """Return the first half of the trials and the rest."""
        middle = len(self.members) // 2
        return self.part(range(middle)), self.part(range(middle, len(self.members)))


class Outcome(NamedTuple):
    """The outcome of a trial: a result, or an error.

    Attributes:
      key: the trial's id.
      result: JSON data, see `train_group`.
      error: the class and the text of the error.
    """

    key: str
    result: dict[str, Any] | None
    error: str | None


def build(config: Mapping[str, Any]) -> tuple[ju.VAE, ju.TrainConfig, ju.Member]:
    """Build the model, the training and the member that a trial's configuration describes.

    Args:
      config: JSON data with `network` (fields of `VAEConfig`), `train` (fields of `TrainConfig`) and `seed`.

    Returns:
      The model, the training config without the fields that differ between members, and the member.

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
    """Sort trials into groups of one program each, of at most `group_size`, and if possible one for every worker.

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
            broken.append(Outcome(trial_id(config), None, describe_error(error)))
        else:
            by_training.setdefault(train, []).append((model, member, config))
    groups = []
    for train, trials in by_training.items():
        # Neighbours in latent size share a group, so that little is padded.
        trials.sort(key=lambda trial: trial[0].config.latent_dim)
        sorted_by_shape = ju.group_members([model for model, _, _ in trials], [member for _, member, _ in trials])
        for found in sorted_by_shape:
            group = Group(found.model, train, found.members, tuple(trials[index][2] for index in found.indices))
            size = len(found.members)
            count = max(-(-size // group_size), min(size, -(-workers // len(sorted_by_shape))))
            groups += [group.part(indices) for indices in np.array_split(range(size), count)]
    return groups, broken


def describe_error(error: BaseException) -> str:
    """Return the class and the text of an error, for the table of trials."""
    return f"{type(error).__name__}: {error}"
