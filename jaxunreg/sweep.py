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
from jaxtyping import Array, Bool, Int, Num

from jaxunreg.batches import batch_indices, check_whole_images, stay_on_device
from jaxunreg.checkpoint import Checkpoints, describe_model, fingerprint, to_json
from jaxunreg.compilation import TRAINING_LEVEL, quick_jit
from jaxunreg.decomposition import Decomposition
from jaxunreg.images import check_images, to_float
from jaxunreg.progress import ProgressBar
from jaxunreg.scoring import Model, filled, fold
from jaxunreg.text import rounded
from jaxunreg.training import (
    Evaluation,
    HeldOut,
    Hyperparameters,
    MetricsLog,
    NonFiniteLossError,
    StepMetrics,
    TrainConfig,
    TrainState,
    check_same_run,
    describe_config,
    for_platform,
    init_state,
    next_stop,
    run_steps,
    starting_state,
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
    sizes: list[int] = []
    for index, (model, member) in enumerate(zip(models, members, strict=True)):
        sizes.append(member.latent_dim or model.config.latent_dim)
        groups.setdefault((type(model), dataclasses.replace(model.config, latent_dim=1)), []).append(index)
    return tuple(
        MemberGroup(
            _with_latent_dim(models[indices[0]], max(sizes[index] for index in indices)),
            tuple(dataclasses.replace(members[index], latent_dim=sizes[index]) for index in indices),
            tuple(indices),
        )
        for indices in groups.values()
    )


class Failure(NamedTuple):
    """Why a member has no weights.

    Attributes:
      step: of the first loss that was not finite, or at which a parameter was found that is not.
      loss: of that step; finite where it was a parameter.
    """

    step: int
    loss: float

    def __str__(self) -> str:
        what = "a parameter that is NaN or infinite" if np.isfinite(self.loss) else f"a loss of {self.loss}"
        return f"got {what} at step {self.step}; expected finite values; lower learning_rate or raise warmup_steps"


@dataclass(frozen=True)
class SweepResult:
    """What `fit_sweep` returns; arrays are NumPy's, so that no device's memory is held.

    Attributes:
      model: the model with the largest latent size, as it was given.
      members: as they were given, with every `None` replaced.
      history: loss, D, A and M of each step's batch, each `[members, steps]`, NaN from the first loss of a member on
        that was not finite. `loss` is `kl_weight * D + A + M`.
      evaluations: for each member the records that `fit` writes into `metrics.jsonl` when it evaluates: `step`,
        `held_out` with the means `loss`, `d`, `a`, `m`, and what `evaluate` returned.
      failures: members, by index, whose loss or parameters became NaN or infinite. The others are not touched by it.
      stacked: variables of all members on a leading axis, padded to the largest latent size. With `model` they score
        as the small models do, so that `jax.vmap` over them runs an ensemble of mixed latent sizes as one program.
        A member that failed has what it failed with.
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
        shapes = _shapes(model)
        padded = {name: jax.tree.map(lambda leaf: leaf[member], self.stacked[name]) for name in shapes}
        cut = _resized(padded, shapes, self.model.config.latent_dim, latent_dim)
        return model, jax.tree.map(jnp.asarray, cut)


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
    vectorize: bool | None = None,
    progress: bool = True,
    description: str = "sweep",
) -> SweepResult:
    """Train many members at once, each as `fit` would train it alone.

    Member k is, to rounding, `fit` of the model of its latent size with its learning rate, weight decay and KL weight
    in the config and `key=jax.random.key(seed)`: the same starting weights, batches and noise. (The noise of padded
    members relies on JAX's default, partitionable threefry generator; with another one it is another draw.)

    The members are one axis of one compiled program, cut over the devices; no device waits for another within a call,
    and the images are copied to each. `member_bytes` estimates the memory that a member takes. Where that is too much
    for all members, `members_at_once` trains them in parts, one after another, all with the same program.

    Started again with the same directory, it goes on from the last checkpoint, also on another number of devices; on
    the same devices the end is bit-identical to that of a run that was never stopped or killed. The directory has a
    folder for each part, `part-000` and so on, with `metrics.jsonl` (a line a step with a list over the part's members,
    `null` where one has failed; a line for each evaluation of each member) and `checkpoints/`.

    Args:
      model: a `VAE` or an `Autoencoder` of the largest latent size.
      images: training images `[N, height, width, channels]`, uint8, or floating point in [0, 1]; all assumed normal.
        Unlike `fit` it draws no crops of larger images; `jaxunreg.batches.random_crops` cuts them beforehand.
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
      vectorize: whether a device runs all its members at a time (`jax.vmap`), which fills an accelerator; else it loops
        over them within the program. By default so except on a CPU, where what belongs to one member stays in the
        cache: on two cores 32 members with 8 base channels at 32x32 train vectorised at two thirds of the loop's speed,
        and in seven times its memory.
      progress: show a bar with the members, the range of their losses, and the images a second of all together.
      description: the bar's title.

    Returns:
      Weights, history, evaluations and failures of the members, in the order given.

    Raises:
      TypeError, ValueError: as `fit`; also no members, a latent size above the model's, no devices, or
        `members_at_once` below one.
      CheckpointError: the directory cannot be written, another run is writing into it, or it holds another sweep.

    >>> import jax, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=1, base_channels=4, latent_dim=3))
    >>> images = jax.random.uniform(jax.random.key(1), (16, 8, 8, 1))
    >>> members = [ju.Member(seed=0), ju.Member(seed=1, latent_dim=2, learning_rate=3e-3)]
    >>> result = ju.fit_sweep(model, images, ju.TrainConfig(steps=3, batch_size=8), members, progress=False)
    >>> result.history.loss.shape
    (2, 3)
    >>> small, variables = result.variables(1)
    >>> small.config.latent_dim, ju.score_images(ju.make_scorer(small, variables), images).m.shape
    (2, (16,))
    """
    if not isinstance(images, np.ndarray | jax.Array):
        raise TypeError(
            f"got {type(images).__name__}; expected an array of images of the model's size; cut crops of larger images "
            "before, with jaxunreg.batches.random_crops"
        )
    check_whole_images(images, model.config.image_shape, config.batch_size)
    if held_out is not None:
        check_images(held_out, (None, *model.config.image_shape))
    members = _checked_members(model, config, members)
    devices = jax.local_devices() if devices is None else list(devices)
    if not devices:
        raise ValueError("got no devices; expected at least one")
    if members_at_once is not None and members_at_once < 1:
        raise ValueError(f"got members_at_once={members_at_once}; expected at least 1")
    parts = -(-len(members) // min(members_at_once or len(members), len(members)))
    size = -(-len(members) // parts)
    mesh, slots = place_members(size, devices)
    if vectorize is None:
        vectorize = mesh.devices.flat[0].platform != "cpu"
    shared = _Sweep(model, images, config, members, slots, mesh, vectorize, held_out, evaluate)
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


class MemberBytes(NamedTuple):
    """Device memory of a member while training, in bytes.

    Attributes:
      weights: of every member of a device: parameters and Adam's two moments, and the copy that the program makes.
      activations: of every member that runs at a time: all, or one where `vectorize` is off.
    """

    weights: int
    activations: int


def member_bytes(model: Model, config: TrainConfig) -> MemberBytes:
    """Estimate of the device memory that a member takes while training; the images come once a device, beside it.

    Weights are six times the parameters. Activations are six times the outputs of all layers for a batch: what the
    gradient keeps, what it is made of, and what the convolutions rearrange. XLA's own count on a CPU is
    near it (`python -m benchmarks.sweep` prints both).

    Args:
      model: the model of the largest latent size.
      config: see `TrainConfig`.

    Returns:
      Bytes.

    >>> import jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(96, 96, 1), depth=5, base_channels=32, latent_dim=50))
    >>> [size // 2**20 for size in member_bytes(model, ju.TrainConfig(batch_size=64))]
    [143, 459]
    """
    network = model.config
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(_shapes(model)["params"]))
    height, width, channels = network.image_shape
    # Encoder and decoder have a map of each size; the last is the image's mean and log-variance, beside the image.
    outputs = 3 * height * width * channels + sum(
        2 * (height >> layer) * (width >> layer) * network.base_channels * 2 ** (layer - 1)
        for layer in range(1, network.depth + 1)
    )
    return MemberBytes(weights=4 * 6 * parameters, activations=4 * 6 * config.batch_size * outputs)


def place_members(count: int, devices: Sequence[jax.Device]) -> tuple[Mesh, int]:
    """A mesh for so many members, and how many slots it has for them: each device has the same number.

    Of all devices as few as finish as early: nine members on eight devices take five, with two each.

    >>> import jax
    >>> mesh, slots = place_members(9, jax.devices()[:8])
    >>> mesh.size, slots
    (5, 10)
    """
    each = -(-count // len(devices))
    mesh = Mesh(np.array(devices[: -(-count // each)]), ("members",))
    return mesh, each * mesh.size


@quick_jit(level=TRAINING_LEVEL, static_argnums=(0, 1, 2, 3), donate_argnums=(4,))
def sweep_steps(
    model: Model,
    config: TrainConfig,
    mesh: Mesh,
    vectorize: bool,
    state: TrainState,
    hyper: Hyperparameters,
    images: AnyImages,
    indices: Int[Array, "members steps batch_size"],
    count: Int[Array, ""],
) -> tuple[TrainState, StepMetrics]:
    """Several updates of all members in one program; `state` is donated.

    Args:
      model: of the largest latent size.
      config: what the members share.
      mesh: one axis, `members`, whose size divides their number.
      vectorize: whether a device runs all its members at a time; else it does all steps of one before the next.
      state: stacked on a leading axis, cut over the mesh; its buffers are reused.
      hyper: of each member, `[members]`.
      images: all images, or those of these steps; the same on each device.
      indices: rows of `images`, one batch a member and step.
      count: how many of the steps to run; see `train_steps`.

    Returns:
      The state after `count` updates, and each step's metrics `[members, steps]`; those beyond `count` are zero.
    """

    def own(
        state: TrainState, hyper: Hyperparameters, images: AnyImages, indices: Array, count: Array
    ) -> tuple[TrainState, StepMetrics]:
        def member(state: TrainState, hyper: Hyperparameters, indices: Array) -> tuple[TrainState, StepMetrics]:
            def step(state: TrainState, k: Array) -> tuple[TrainState, StepMetrics]:
                return train_step(model, config, state, images[indices[k]], hyper)

            return run_steps(step, state, len(indices), count)

        if vectorize:
            return jax.vmap(member)(state, hyper, indices)
        return jax.lax.map(lambda arguments: member(*arguments), (state, hyper, indices))

    members, everywhere = PartitionSpec("members"), PartitionSpec()
    # Members have nothing to say to each other: a shard each, and no collective.
    return jax.shard_map(
        own,
        mesh=mesh,
        in_specs=(members, members, everywhere, members, everywhere),
        out_specs=members,
        check_vma=False,
    )(state, hyper, images, indices, count)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _sweep_terms(
    model: Model,
    mesh: Mesh,
    vectorize: bool,
    variables: Variables,
    batches: Num[Array, "batches batch height width channels"],
) -> Decomposition:
    """D, A and M of every image for every member, `[members, batches, batch]`; arguments as in `sweep_steps`."""

    def own(variables: Variables, batches: Array) -> Decomposition:
        def member(variables: Variables) -> Decomposition:
            folded = fold(model, variables)
            return jax.lax.map(lambda batch: model.apply(folded, to_float(batch), method="terms"), batches)

        return jax.vmap(member)(variables) if vectorize else jax.lax.map(member, variables)

    members, everywhere = PartitionSpec("members"), PartitionSpec()
    return jax.shard_map(own, mesh=mesh, in_specs=(members, everywhere), out_specs=members, check_vma=False)(
        variables, batches
    )


@jax.jit
def _all_finite(variables: Variables) -> Bool[Array, " members"]:
    """Whether each member's variables are."""
    finite = [jnp.isfinite(leaf).reshape(len(leaf), -1).all(axis=1) for leaf in jax.tree.leaves(variables)]
    return jnp.stack(finite).all(axis=0)


class _Outcome(NamedTuple):
    """What is left of a part: NumPy arrays with a leading axis of its members."""

    variables: Variables
    history: StepMetrics
    evaluations: list[list[dict[str, Any]]]
    failures: dict[int, Failure]


@dataclass(frozen=True)
class _Sweep:
    """What all parts share; `slots` is how many members the program has, at least as many as a part."""

    model: Model
    images: AnyImages
    config: TrainConfig
    members: tuple[Member, ...]
    slots: int
    mesh: Mesh
    vectorize: bool
    held_out: HeldOut | None
    evaluate: Evaluation | None

    @functools.cached_property
    def masked(self) -> bool:
        """Whether any member of any part is padded, so that all parts have one program."""
        return any(member.latent_dim != self.model.config.latent_dim for member in self.members)

    @functools.cached_property
    def resident(self) -> Array | None:
        """The images on each device, or None where they stay on the host."""
        return (
            self.everywhere(self.images) if stay_on_device(self.images.nbytes, self.config.images_on_device) else None
        )

    @functools.cached_property
    def held_out_batches(self) -> Array:
        """The held-out images in batches on each device; the last is filled up with zeros."""
        assert self.held_out is not None
        held_out = np.asarray(self.held_out)
        batch = min(len(held_out), self.config.batch_size)
        whole = filled(held_out, -(-len(held_out) // batch) * batch)
        return self.everywhere(whole.reshape(-1, batch, *held_out.shape[1:]))

    @functools.cached_property
    def images_sha256(self) -> str:
        return fingerprint(self.images)

    def everywhere(self, tree: PyTree) -> PyTree:
        """On all devices of the mesh."""
        return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec()))

    def spread(self, tree: PyTree) -> PyTree:
        """A leading axis of members, filled up with the last of them and cut over the devices."""

        def fill(leaf: Any) -> Any:
            return leaf[np.minimum(np.arange(self.slots), len(leaf) - 1)]

        return jax.device_put(jax.tree.map(fill, tree), NamedSharding(self.mesh, PartitionSpec("members")))


class _Part:
    """The host's side of a part of a sweep, members `first .. last - 1`."""

    def __init__(self, sweep: _Sweep, first: int, last: int) -> None:
        self.sweep, self.config = sweep, sweep.config
        self.first, self.members = first, sweep.members[first:last]
        losses, *terms = np.full((4, len(self.members), self.config.steps), np.nan, np.float32)
        self.history = StepMetrics(losses, Decomposition(*terms))
        self.evaluations: list[list[dict[str, Any]]] = [[] for _ in self.members]
        self.failures: dict[int, Failure] = {}
        self.hyper = sweep.spread(
            Hyperparameters(
                *(
                    np.array([getattr(member, name) for member in self.members], np.float32)
                    for name in Hyperparameters._fields
                )
            )
        )

    def run(self, directory: Path | None, progress: bool, description: str) -> _Outcome:
        """Train the steps that are left."""
        state = self._fresh()
        # The key of a seed's batches; members of one seed see the same.
        self.keys = {member.seed: state.key[index] for index, member in enumerate(self.members)}
        if directory is None:
            return self._train(self.sweep.spread(state), None, progress, description)
        with Checkpoints(directory / "checkpoints", keep=self.config.keep_checkpoints, alone=True) as checkpoints:
            log = MetricsLog(directory / "metrics.jsonl")
            state = self._resume(state, checkpoints, log)
            return self._train(self.sweep.spread(state), (checkpoints, log), progress, description)

    def _fresh(self) -> TrainState:
        """Every member as `fit` of its own small model starts, padded with zeros, on a leading axis."""
        model = self.sweep.model
        like = jax.eval_shape(functools.partial(init_state, model, self.config), jax.random.key(0))
        states = []
        for member in self.members:
            assert member.latent_dim is not None
            small = _with_latent_dim(model, member.latent_dim)
            state = starting_state(small, self.config, jax.random.key(member.seed), self.sweep.images)
            variables, opt_state = _resized(
                jax.tree.map(np.asarray, (state.variables, state.opt_state)),
                (like.variables, like.opt_state),
                member.latent_dim,
                model.config.latent_dim,
            )
            if self.sweep.masked:
                variables = {**variables, "latent": {"size": np.int32(member.latent_dim)}}
            states.append((state.step, variables, opt_state, jax.random.key_data(state.key)))
        step, variables, opt_state, key_data = jax.tree.map(lambda *leaves: np.stack(leaves), *states)
        return TrainState(step, variables, opt_state, jax.random.wrap_key_data(key_data))

    def _resume(self, fresh: TrainState, checkpoints: Checkpoints, log: MetricsLog) -> TrainState:
        step = checkpoints.latest_step
        if step is None:
            log.cut(-1)
            return fresh
        check_same_run(checkpoints, step, self._description)
        log.cut(step)
        for record in log.read():
            if "member" in record:
                self.evaluations[record.pop("member") - self.first].append(record)
            else:
                for name, history in self._curves.items():
                    history[:, record["step"] - 1] = np.array(record[name], np.float32)
        variables, rest = checkpoints.restore(step, fresh.variables, self._rest(fresh))
        for k, (failed, loss) in enumerate(
            zip(rest["failed_step"].tolist(), rest["failed_loss"].tolist(), strict=True)
        ):
            if failed:
                self.failures[k] = Failure(failed, loss)
        variables, opt_state, step = jax.tree.map(np.asarray, (variables, rest["opt_state"], rest["step"]))
        return TrainState(step, variables, opt_state, fresh.key)

    def _rest(self, state: TrainState) -> dict[str, PyTree]:
        failures = [self.failures.get(k, Failure(0, 0.0)) for k in range(len(self.members))]
        return {
            "step": self._own(state.step),
            "opt_state": self._own(state.opt_state),
            "failed_step": np.array([failure.step for failure in failures], np.int32),
            "failed_loss": np.array([failure.loss for failure in failures], np.float32),
        }

    @property
    def _curves(self) -> dict[str, Any]:
        return {"loss": self.history.loss, **self.history.terms._asdict()}

    def _train(
        self, state: TrainState, files: tuple[Checkpoints, MetricsLog] | None, progress: bool, description: str
    ) -> _Outcome:
        config, members = self.config, len(self.members)
        step = int(state.step[0])
        with ProgressBar(progress, description, config.steps, step) as bar:
            while step < config.steps and len(self.failures) < members:
                began = time.perf_counter()
                count = next_stop(config, step) - step
                state, metrics = self._dispatch(state, step, count)
                self._record(step, jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:members, :count], metrics))
                rate = members * count * config.batch_size / (time.perf_counter() - began)
                records = self._step_records(step, count, rate)
                step += count
                if step == config.steps or step % config.checkpoint_every == 0:
                    # A finite loss can still have made an update that is not.
                    for k in np.flatnonzero(~np.asarray(_all_finite(state.variables))[:members]).tolist():
                        self.failures.setdefault(k, Failure(step, float(self.history.loss[k, step - 1])))
                if step == config.steps or step % config.evaluate_every == 0:
                    records += self._evaluate(step, state)
                if files is not None:
                    files[1].append(records)
                    if step == config.steps or step % config.checkpoint_every == 0:
                        files[0].save(step, self._own(state.variables), self._rest(state), self._description)
                bar.show(step, self._shown(step, rate))
        return _Outcome(
            self._own(state.variables),
            self.history,
            self.evaluations,
            {self.first + k: failure for k, failure in sorted(self.failures.items())},
        )

    def _dispatch(self, state: TrainState, step: int, count: int) -> tuple[TrainState, StepMetrics]:
        sweep, config = self.sweep, self.config
        shape = (len(self.members), config.steps_per_dispatch, config.batch_size)
        indices = np.zeros(shape, np.int32)
        by_seed = {
            seed: batch_indices(key, len(sweep.images), config.batch_size, step, count)
            for seed, key in self.keys.items()
        }
        for own, member in zip(indices, self.members, strict=True):
            own[:count] = by_seed[member.seed]
        images = sweep.resident
        if images is None:
            rows, flat = np.unique(indices, return_inverse=True)
            # As many rows as the call could need, for one shape.
            most = min(indices.size, len(sweep.images))
            rows = np.concatenate([rows, np.zeros(most - rows.size, rows.dtype)])
            images = sweep.everywhere(np.asarray(sweep.images)[rows])
            indices = flat.reshape(shape).astype(np.int32)
        arrays = state, self.hyper, images, sweep.spread(indices), np.int32(count)
        model = for_platform(sweep.model, sweep.mesh.devices.flat[0].platform)
        return sweep_steps(model, config, sweep.mesh, sweep.vectorize, *arrays)

    def _record(self, step: int, metrics: StepMetrics) -> None:
        """Write the losses of the steps after `step` down, and which members fail in them."""
        count = metrics.loss.shape[1]
        for k, losses in enumerate(metrics.loss):
            bad = np.flatnonzero(~np.isfinite(losses))
            if bad.size and k not in self.failures:
                self.failures[k] = Failure(step + int(bad[0]) + 1, float(losses[bad[0]]))
        new = {"loss": metrics.loss, **metrics.terms._asdict()}
        for name, history in self._curves.items():
            history[:, step : step + count] = new[name]
            for k, failure in self.failures.items():
                history[k, failure.step - (not math.isfinite(failure.loss)) :] = np.nan

    def _step_records(self, step: int, count: int, rate: float) -> list[dict[str, Any]]:
        def value(x: float) -> float | None:
            return x if math.isfinite(x) else None

        return [
            {"step": after}
            | {name: [value(x) for x in history[:, after - 1].tolist()] for name, history in self._curves.items()}
            | {"images_per_second": round(rate, 1)}
            for after in range(step + 1, step + count + 1)
        ]

    def _evaluate(self, step: int, state: TrainState) -> list[dict[str, Any]]:
        """What each member that has not failed has to say of itself, as records for the log."""
        sweep = self.sweep
        if sweep.held_out is not None:
            terms = _sweep_terms(sweep.model, sweep.mesh, sweep.vectorize, state.variables, sweep.held_out_batches)
            count = len(sweep.held_out)
            terms = jax.tree.map(lambda term: term.reshape(len(term), -1)[:, :count], self._own(terms))
            means = {name: term.mean(axis=1, dtype=np.float64).tolist() for name, term in terms._asdict().items()}
        variables = self._own(state.variables) if sweep.evaluate is not None else None
        records = []
        for k in range(len(self.members)):
            if k in self.failures:
                continue
            record: dict[str, Any] = {"step": step}
            if sweep.held_out is not None:
                own = {name: mean[k] for name, mean in means.items()}
                record["held_out"] = {"loss": sum(own.values()), **own}
            if sweep.evaluate is not None:
                record.update(to_json(sweep.evaluate(jax.tree.map(lambda leaf, k=k: leaf[k], variables))))
            if len(record) > 1:
                self.evaluations[k].append(record)
                records.append({"member": self.first + k, **record})
        return records

    def _own(self, tree: PyTree) -> PyTree:
        """The members' own, without what fills up the slots, on the host."""
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(self.members)], tree)

    def _shown(self, step: int, rate: float) -> str:
        losses = self.history.loss[:, step - 1]
        losses = losses[np.isfinite(losses)]
        spread = f"loss {rounded(float(losses.min()))} to {rounded(float(losses.max()))}  " if losses.size else ""
        failed = f"  {len(self.failures)} failed" if self.failures else ""
        return f"{len(self.members)} members  {spread}{rate:.0f} images/s{failed}"

    @functools.cached_property
    def _description(self) -> dict[str, Any]:
        """What must be the same for a part to go on; the devices need not."""
        return to_json(
            {
                "model": describe_model(self.sweep.model),
                "train": describe_config(self.config),
                "members": [dataclasses.asdict(member) for member in self.members],
                "images": {"shape": self.sweep.images.shape, "sha256": self.sweep.images_sha256},
            }
        )


def _checked_members(model: Model, config: TrainConfig, members: Sequence[Member]) -> tuple[Member, ...]:
    if not members:
        raise ValueError("got no members; expected at least one")
    resolved = tuple(member.resolve(model, config) for member in members)
    for index, member in enumerate(resolved):
        if member.latent_dim is not None and member.latent_dim > model.config.latent_dim:
            raise ValueError(
                f"got latent_dim={member.latent_dim} for member {index} with a model of "
                f"latent_dim={model.config.latent_dim}; expected at most the model's; give a model of the largest "
                "latent size (`group_members` does)"
            )
    return resolved


def _with_latent_dim(model: Model, latent_dim: int) -> Model:
    return type(model)(dataclasses.replace(model.config, latent_dim=latent_dim))  # type: ignore[call-arg]


def _shapes(model: Model) -> Any:
    """Shapes of a model's variables."""
    return jax.eval_shape(
        model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *model.config.image_shape), jnp.float32)
    )


def _resized(tree: PyTree, like: PyTree, old: int, new: int) -> PyTree:
    """Arrays of one latent size as those of another: padded with zeros, or cut.

    An axis that grows with the latent size is one or several blocks of it (mean and log-variance are two), each of
    which is padded or cut.

    Args:
      tree: NumPy arrays.
      like: a tree of the shapes wanted.
      old: latent size of `tree`.
      new: latent size of `like`.
    """

    def resize(leaf: np.ndarray, wanted: Any) -> np.ndarray:
        for axis, length in enumerate(wanted.shape):
            if leaf.shape[axis] != length:
                before, after = leaf.shape[:axis], leaf.shape[axis + 1 :]
                blocks = leaf.reshape(*before, -1, old, *after)
                grown = np.zeros((*before, length // new, new, *after), leaf.dtype)
                both = (slice(None),) * (axis + 1) + (slice(min(old, new)),)
                grown[both] = blocks[both]
                leaf = grown.reshape(*before, length, *after)
        return leaf

    return jax.tree.map(resize, tree, like)


def _concatenated(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *trees)
