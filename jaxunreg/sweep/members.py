"""The members of a sweep: their settings, and the groups that one program can train."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.models.base import Model
from jaxunreg.signatures import check_fields
from jaxunreg.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Member:
    """The settings of one member of a sweep; `None` stands for the training config's or the model's value.

    Attributes:
      seed: `fit` trains the same member with `key=jax.random.key(seed)`.
      learning_rate: Adam's alpha at its highest; the schedule is the training config's.
      weight_decay: L2 coefficient, in PyTorch's sense.
      kl_weight: weight of D in the objective, after the training config's warm-up.
      latent_dim: N_z, at most the model's.

    Raises:
      ArgumentError: a field is out of its range.

    >>> Member(seed=1, learning_rate=0.0)
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got learning_rate=0.0; expected a finite value above zero; leave it out ...
    """

    seed: int = 0
    learning_rate: float | None = None
    weight_decay: float | None = None
    kl_weight: float | None = None
    latent_dim: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 <= self.seed < 2**32:
            raise ArgumentError(argument("seed", self.seed), "0 <= seed < 2**32", f"change {argument('seed')}")
        if self.learning_rate is not None and not (np.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ArgumentError(
                argument("learning_rate", self.learning_rate),
                "a finite value above zero",
                "leave it out for the config's",
            )
        for name in ("weight_decay", "kl_weight"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value >= 0):
                raise ArgumentError(
                    argument(name, value), "a finite value of at least zero", "leave it out for the config's"
                )
        if self.latent_dim is not None and self.latent_dim < 1:
            raise ArgumentError(argument("latent_dim", self.latent_dim), "at least 1", "leave it out for the model's")

    def resolve(self, model: Model, config: TrainConfig) -> "Member":
        """Return the same member with every `None` replaced.

        >>> import jaxunreg as ju
        >>> model = ju.VAE(ju.VAEConfig(latent_dim=20))
        >>> Member(seed=3, weight_decay=0.0).resolve(model, ju.TrainConfig())
        Member(seed=3, learning_rate=0.001, weight_decay=0.0, kl_weight=1.0, latent_dim=20)
        """
        values = {name: getattr(config, name) for name in ("learning_rate", "weight_decay", "kl_weight")}
        values["latent_dim"] = model.latent_dim or None
        return dataclasses.replace(self, **{n: v for n, v in values.items() if getattr(self, n) is None})

    def own_model(self, model: Model) -> Model:
        """Return the model of this member, with its own latent size.

        >>> import jaxunreg as ju
        >>> Member(latent_dim=5).own_model(ju.VAE(ju.VAEConfig(latent_dim=20))).latent_dim
        5
        """
        return model.with_latent_dim(model.latent_dim if self.latent_dim is None else self.latent_dim)


@dataclass(frozen=True)
class MemberGroup:
    """Members that one program can train.

    Attributes:
      model: the model of the largest latent size among them, for `fit_sweep`.
      members: the members, with their latent sizes filled in.
      indices: index of each in the argument of `group_members`.
    """

    model: Model
    members: tuple[Member, ...]
    indices: tuple[int, ...]


def group_members(models: Sequence[Model], members: Sequence[Member]) -> tuple[MemberGroup, ...]:
    """Sort members into groups that share all shapes but the latent size. Each needs one program and one `fit_sweep`.

    Args:
      models: each member's model, with its own base channels, depth, image shape, kind and other settings.
      members: the members. If `latent_dim` is `None`, a member has its model's.

    Returns:
      Groups in the order of their first members, and members in the order given.

    Raises:
      ArgumentError: the numbers of models and members differ.

    >>> import jaxunreg as ju
    >>> models = [ju.VAE(ju.VAEConfig(base_channels=c, latent_dim=n)) for c in (8, 16) for n in (5, 20)]
    >>> groups = ju.group_members(models, [ju.Member(seed=0)] * 4)
    >>> [(group.model.config.base_channels, group.model.latent_dim, group.indices) for group in groups]
    [(8, 20, (0, 1)), (16, 20, (2, 3))]
    """
    if len(models) != len(members):
        raise ArgumentError(
            f"{len(models)} models and {len(members)} members",
            "one model for each member",
            "repeat the model of members that share one",
            field="models",
        )
    groups: dict[Any, list[int]] = {}
    sizes: list[int] = []
    for index, (model, member) in enumerate(zip(models, members, strict=True)):
        sizes.append(member.latent_dim or model.latent_dim)
        groups.setdefault(model.with_latent_dim(min(1, model.latent_dim)), []).append(index)
    return tuple(
        MemberGroup(
            models[indices[0]].with_latent_dim(max(sizes[index] for index in indices)),
            tuple(dataclasses.replace(members[index], latent_dim=sizes[index] or None) for index in indices),
            tuple(indices),
        )
        for indices in groups.values()
    )


def checked_members(model: Model, config: TrainConfig, members: Sequence[Member]) -> tuple[Member, ...]:
    """Return the members with every `None` replaced.

    Raises:
      ArgumentError: no members, or a latent size above the model's.
    """
    if not members:
        raise ArgumentError("no members", "at least one", "give a list of `Member`", field="members")
    resolved = tuple(member.resolve(model, config) for member in members)
    for index, member in enumerate(resolved):
        if member.latent_dim is not None and member.latent_dim > model.latent_dim:
            raise ArgumentError(
                f"{argument('latent_dim', member.latent_dim)} for member {index} with a model of "
                f"latent_dim={model.latent_dim}",
                "at most the model's",
                "give a model of the largest latent size (`group_members` makes it)",
            )
    return resolved
