"""Sweeps: many members trained at once by one compiled program, vmapped and spread over devices.

Members may differ in seed, learning rate, weight decay, weight of D, and latent size. A smaller latent space is the
largest one padded: its weights are those of the small model with zeros beside them, and the model masks what the
padding would add (`VAE`, collection `latent`). So a member has the gradients, the noise and the scores of the small
model trained alone, and the zeros stay zero. Whatever changes another shape (base channels, depth, patch size, the kind
of model) needs another program; `group_members` sorts members by that.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, Num

from jaxunreg.checkpoint import Checkpoints, describe_model, fingerprint, to_json
from jaxunreg.decomposition import Decomposition
from jaxunreg.images import to_float
from jaxunreg.scoring import Model, fold
from jaxunreg.training import (
    Evaluation,
    HeldOut,
    Hyperparameters,
    MetricsLog,
    NonFiniteLossError,
    ProgressBar,
    StepMetrics,
    TrainConfig,
    TrainState,
    batch_indices,
    check_same_run,
    check_training_images,
    init_state,
    next_stop,
    stay_on_device,
    train_step,
)
from jaxunreg.typing import AnyImages, PyTree, Variables


@dataclass(frozen=True, kw_only=True)
class Member:
    """What one member of a sweep has of its own; `None` stands for the training config's or the model's value.

    Attributes:
      seed: the member is what `fit` trains with `key=jax.random.key(seed)`.
      learning_rate: Adam's alpha at its highest; the schedule is the training config's.
      weight_decay: L2 coefficient, in PyTorch's sense.
      kl_weight: weight of D in the objective, after the training config's warm-up.
      latent_dim: N_z, at most the model's.

    Raises:
      ValueError: a field out of its range.

    >>> Member(seed=1, learning_rate=0.0)
    Traceback (most recent call last):
    ValueError: got learning_rate=0.0; expected a finite value above zero
    """

    seed: int = 0
    learning_rate: float | None = None
    weight_decay: float | None = None
    kl_weight: float | None = None
    latent_dim: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"got seed={self.seed}; expected 0 <= seed < 2**32")
        if self.learning_rate is not None and not (np.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"got learning_rate={self.learning_rate}; expected a finite value above zero")
        for name in ("weight_decay", "kl_weight"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value >= 0):
                raise ValueError(f"got {name}={value}; expected a finite value of at least zero")
        if self.latent_dim is not None and self.latent_dim < 1:
            raise ValueError(f"got latent_dim={self.latent_dim}; expected at least 1")

    def resolve(self, model: Model, config: TrainConfig) -> "Member":
        """The same member with every `None` replaced.

        >>> import jaxunreg as ju
        >>> model = ju.VAE(ju.VAEConfig(latent_dim=20))
        >>> Member(seed=3, weight_decay=0.0).resolve(model, ju.TrainConfig())
        Member(seed=3, learning_rate=0.001, weight_decay=0.0, kl_weight=1.0, latent_dim=20)
        """
        values = {name: getattr(config, name) for name in ("learning_rate", "weight_decay", "kl_weight")}
        values["latent_dim"] = model.config.latent_dim
        return dataclasses.replace(self, **{n: v for n, v in values.items() if getattr(self, n) is None})


@dataclass(frozen=True)
class MemberGroup:
    """Members that one program can train.

    Attributes:
      model: the model of the largest latent size among them, for `fit_sweep`.
      members: with their latent sizes filled in.
      indices: where each stood in what `group_members` was given.
    """

    model: Model
    members: tuple[Member, ...]
    indices: tuple[int, ...]


def group_members(models: Sequence[Model], members: Sequence[Member]) -> tuple[MemberGroup, ...]:
    """Sort members into groups that share all shapes but the latent size: one program, and one `fit_sweep`, each.

    Args:
      models: each member's model, with its own base channels, depth, image shape, kind and other settings.
      members: a member whose `latent_dim` is `None` has its model's.

    Returns:
      Groups in the order of their first members, and members in the order given.

    Raises:
      ValueError: not one model for each member.

    >>> import jaxunreg as ju
    >>> models = [ju.VAE(ju.VAEConfig(base_channels=c, latent_dim=n)) for c in (8, 16) for n in (5, 20)]
    >>> groups = ju.group_members(models, [ju.Member(seed=0)] * 4)
    >>> [(group.model.config.base_channels, group.model.config.latent_dim, group.indices) for group in groups]
    [(8, 20, (0, 1)), (16, 20, (2, 3))]
    """
    if len(models) != len(members):
        raise ValueError(f"got {len(models)} models and {len(members)} members; expected one model for each member")
    groups: dict[Any, list[int]] = {}
    filled = []
    for index, (model, member) in enumerate(zip(models, members, strict=True)):
        latent_dim = member.latent_dim or model.config.latent_dim
        filled.append(dataclasses.replace(member, latent_dim=latent_dim))
        groups.setdefault((type(model), dataclasses.replace(model.config, latent_dim=1)), []).append(index)
    return tuple(
        MemberGroup(
            _with_latent_dim(models[indices[0]], max(filled[index].latent_dim for index in indices)),
            tuple(filled[index] for index in indices),
            tuple(indices),
        )
        for indices in groups.values()
    )


class Failure(NamedTuple):
    """Why a member has no weights.

    Attributes:
      step: after which its loss, or a parameter, was not finite.
      what: what was found there.
    """

    step: int
    what: str

    def __str__(self) -> str:
        return f"got {self.what} at step {self.step}; expected finite values; lower learning_rate or raise warmup_steps"


@dataclass(frozen=True)
class SweepResult:
    """What `fit_sweep` returns; arrays are NumPy's, so that no device's memory is held.

    Attributes:
      model: the model with the largest latent size, as it was given.
      members: as they were given, with every `None` replaced.
      history: loss, D, A and M of each step's batch, each `[members, steps]`, NaN from the step on at which a member
        failed. `loss` is `kl_weight * D + A + M`.
      evaluations: for each member the records that `fit` writes into `metrics.jsonl` when it evaluates: `step`,
        `held_out` with the means `loss`, `d`, `a`, `m`, and what `evaluate` returned.
      failures: members, by index, whose loss or parameters became NaN or infinite. The others are not touched by it.
      stacked: variables of all members on a leading axis, padded to the largest latent size. With `model` they score
        as the small models do: stacked, `jax.vmap` runs an ensemble of mixed latent sizes as one program.
    """

    model: Model
    members: tuple[Member, ...]
    history: StepMetrics
    evaluations: tuple[tuple[dict[str, Any], ...], ...]
    failures: Mapping[int, Failure]
    stacked: Variables

    def variables(self, member: int) -> tuple[Model, Variables]:
        """A member's own model and its variables, as `fit` would have made them: for `make_scorer`, `save_model`.

        Args:
          member: its index in `members`.

        Returns:
          The model of the member's latent size, and its parameters and batch statistics.

        Raises:
          IndexError: no such member.
          NonFiniteLossError: the member failed.
        """
        if not 0 <= member < len(self.members):
            raise IndexError(f"got member {member}; expected 0 to {len(self.members) - 1}")
        if member in self.failures:
            raise NonFiniteLossError(f"member {member} of the sweep failed: {self.failures[member]}")
        latent_dim = self.members[member].latent_dim
        assert latent_dim is not None
        model = _with_latent_dim(self.model, latent_dim)
        padded = {name: jax.tree.map(lambda leaf: leaf[member], self.stacked[name]) for name in _shapes(model)}
        return model, jax.tree.map(jnp.asarray, _resized(padded, self.model, model))


def fit_sweep(
    model: Model,
    images: AnyImages,
    config: TrainConfig,
    members: Sequence[Member],
    *,
    held_out: HeldOut | None = None,
    evaluate: Evaluation | None = None,
    directory: str | Path | None = None,
    devices: Sequence[jax.Device] | None = None,
    members_at_once: int | None = None,
    progress: bool = True,
    description: str = "sweep",
) -> SweepResult:
    """Train many members at once, each as `fit` would train it alone.

    Member k is, to rounding, `fit` of the model of its latent size with its learning rate, weight decay and KL weight in
    the config and `key=jax.random.key(seed)`: the same starting weights, batches and noise. (The noise of padded
    members relies on JAX's default, partitionable threefry generator; with another one it is another draw.)

    The members are one axis of one compiled program, cut over the devices; no device waits for another within a call,
    and the images are copied to each. A device holds, for each of its members, the parameters four times (with Adam's
    moments and a gradient) and the activations of a batch; `member_bytes` estimates it. Where that is too much for all
    members, `members_at_once` trains them in parts, one after another, all with the same program.

    Started again with the same directory, it goes on from the last checkpoint, also on another number of devices; on
    the same devices the end is bit-identical to that of a run that was never stopped or killed. The directory has a
    folder for each part, `part-000` and so on, with `metrics.jsonl` (a line a step with a list over the part's members,
    `null` where one has failed; a line for each evaluation of each member) and `checkpoints/`.

    Args:
      model: a `VAE` or an `Autoencoder` of the largest latent size.
      images: training images `[N, height, width, channels]`, uint8, or floating point in [0, 1]; all assumed normal.
      config: what the members share; see `TrainConfig`.
      members: what each has of its own.
      held_out: images that every member scores every `evaluate_every` steps, in one program, held in the device's
        memory.
      evaluate: as in `fit`, called at the same steps for one member after another that has not failed. It gets
        variables for `model`, padded to its latent size, with which `make_scorer(model, variables)` scores exactly as
        the member's own small model does, so one compiled scoring program serves all members.
      directory: where files go. Without it nothing is written and nothing resumed.
      devices: over which the members are spread; by default all of this process. No more are used than shorten the
        time.
      members_at_once: how many members train together, at most; by default all.
      progress: show a bar with the members, the range of their losses, and the images a second of all together.
      description: the bar's title.

    Returns:
      Weights, history, evaluations and failures of the members, in the order given.

    Raises:
      TypeError, ValueError: as `fit`; also no members, a latent size above the model's, no devices, or
        `members_at_once` below one.
      CheckpointError: the directory cannot be written, or holds another sweep.

    >>> import jax, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jax.random.uniform(jax.random.key(1), (16, 8, 8, 1))
    >>> members = [ju.Member(seed=0), ju.Member(seed=1, latent_dim=2, learning_rate=3e-3)]
    >>> result = ju.fit_sweep(model, images, ju.TrainConfig(steps=3, batch_size=8), members, progress=False)
    >>> result.history.loss.shape
    (2, 3)
    >>> small, variables = result.variables(1)
    >>> small.config.latent_dim, ju.score_images(ju.make_scorer(small, variables), images).m.shape
    (2, (16,))
    """
    check_training_images(model, images, config, held_out)
    members = _checked_members(model, config, members)
    devices = jax.local_devices() if devices is None else list(devices)
    if not devices:
        raise ValueError("got no devices; expected at least one")
    if members_at_once is not None and members_at_once < 1:
        raise ValueError(f"got members_at_once={members_at_once}; expected at least 1")
    parts = -(-len(members) // min(members_at_once or len(members), len(members)))
    size = -(-len(members) // parts)
    each = -(-size // len(devices))
    mesh = Mesh(np.array(devices[: -(-size // each)]), ("members",))
    shared = _Sweep(model, images, config, members, each * mesh.size, mesh, held_out, evaluate)
    outcomes = []
    for part, first in enumerate(range(0, len(members), size)):
        last = min(first + size, len(members))
        title = description if parts == 1 else f"{description}, members {first} to {last - 1} of {len(members)}"
        folder = None if directory is None else Path(directory) / f"part-{part:03d}"
        outcomes.append(_Part(shared, first, last).run(folder, progress, title))
    return SweepResult(
        model=model,
        members=members,
        history=_concatenated([outcome.history for outcome in outcomes]),
        evaluations=tuple(tuple(records) for outcome in outcomes for records in outcome.evaluations),
        failures={index: failure for outcome in outcomes for index, failure in outcome.failures.items()},
        stacked=_concatenated([outcome.variables for outcome in outcomes]),
    )
