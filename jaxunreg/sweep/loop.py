"""Sweeps: many members trained at once by one compiled program, vmapped and spread over devices.

Members may differ in seed, learning rate, weight decay, weight of D, and latent size. A smaller latent space is the
largest one padded: its weights are those of the small model with zeros beside them, and a `PaddedLatentSpace` masks
what the padding would add. So a member has the gradients, the noise and the scores of the small
model trained alone, and the zeros stay zero. Whatever changes another shape (base channels, depth, patch size, the kind
of model) needs another program; `group_members` sorts members by that.
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from jaxunreg.decomposition import Decomposition
from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument
from jaxunreg.images import check_images
from jaxunreg.models.base import Model
from jaxunreg.models.registry import describe_model
from jaxunreg.padding import filled
from jaxunreg.progress import ProgressBar
from jaxunreg.serialization import fingerprint, to_json
from jaxunreg.sweep.latent_padding import PaddedLatentSpace, resized, with_latent_size
from jaxunreg.sweep.members import Member, checked_members
from jaxunreg.sweep.program import finite_members, place_members, sweep_steps, sweep_terms
from jaxunreg.sweep.result import Failure, SweepResult
from jaxunreg.text import rounded
from jaxunreg.training.batches import batch_indices, stay_on_device
from jaxunreg.training.checkpoints import Checkpoints
from jaxunreg.training.config import TrainConfig
from jaxunreg.training.identity import check_same_run, describe_config
from jaxunreg.training.log import MetricsLog
from jaxunreg.training.loop import HeldOut, next_stop
from jaxunreg.training.optimizer import Hyperparameters
from jaxunreg.training.state import StepMetrics, TrainState, init_state, starting_state
from jaxunreg.training.training_images import check_whole_images
from jaxunreg.typing import AnyImages, PyTree, Variables

EvaluateMember: TypeAlias = Callable[[Model, Variables], Mapping[str, Any]]


def fit_sweep(
    model: Model,
    images: AnyImages,
    config: TrainConfig,
    members: Sequence[Member],
    *,
    held_out: HeldOut | None = None,
    evaluate: EvaluateMember | None = None,
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
        Unlike `fit` it draws no crops of larger images; `jaxunreg.training.random_crops` cuts them beforehand.
      config: what the members share; see `TrainConfig`.
      members: what each has of its own.
      held_out: images that every member scores every `evaluate_every` steps, in one program, held in the device's
        memory.
      evaluate: called at the same steps for one member after another that has not failed, with a model and variables.
        They are padded to the largest latent size, and `make_scorer(model, variables)` scores exactly as the member's
        own small model does, so that one compiled scoring program serves all members. What it returns (JSON data) is
        added to the record.
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
        raise ArgumentTypeError(
            type(images).__name__,
            "an array of images of the model's size",
            "cut crops of larger images before, with jaxunreg.training.random_crops",
            "images",
        )
    check_whole_images(images, model.config.image_shape, config.batch_size)
    if held_out is not None:
        check_images(held_out, (None, *model.config.image_shape))
    members = checked_members(model, config, members)
    devices = jax.local_devices() if devices is None else list(devices)
    if not devices:
        raise ArgumentError("no devices", "at least one", field="devices")
    if members_at_once is not None and members_at_once < 1:
        raise ArgumentError(argument("members_at_once", members_at_once), "at least 1")
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
        model=shared.padded,
        members=members,
        history=_concatenated([outcome.history for outcome in outcomes]),
        evaluations=tuple(tuple(records) for outcome in outcomes for records in outcome.evaluations),
        failures={index: failure for outcome in outcomes for index, failure in outcome.failures.items()},
        stacked=_concatenated([outcome.variables for outcome in outcomes]),
    )


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
    evaluate: EvaluateMember | None

    @functools.cached_property
    def masked(self) -> bool:
        """Whether any member of any part is padded, so that all parts have one program."""
        return any(member.latent_dim not in (None, self.model.latent_dim) for member in self.members)

    @functools.cached_property
    def padded(self) -> Model:
        """The model of the largest latent size, whose variables every member has."""
        return self.model.with_latent_space(PaddedLatentSpace()) if self.masked else self.model

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
            small = member.own_model(model)
            state = starting_state(small, self.config, jax.random.key(member.seed), self.sweep.images)
            variables, opt_state = resized(
                jax.tree.map(np.asarray, (state.variables, state.opt_state)),
                (like.variables, like.opt_state),
                small.latent_dim,
                model.latent_dim,
            )
            if self.sweep.masked:
                variables = with_latent_size(variables, np.array(small.latent_dim, np.int32))
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
                    for k in np.flatnonzero(~np.asarray(finite_members(state.variables))[:members]).tolist():
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
        model = sweep.padded.for_platform(sweep.mesh.devices.flat[0].platform)
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
            terms = sweep_terms(sweep.padded, sweep.mesh, sweep.vectorize, state.variables, sweep.held_out_batches)
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
                record.update(to_json(sweep.evaluate(sweep.padded, jax.tree.map(lambda leaf, k=k: leaf[k], variables))))
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


def _concatenated(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *trees)
