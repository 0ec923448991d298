"""The training of the members of a sweep that one call of the program holds."""

import dataclasses
import functools
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxunreg.models.registry import describe_model
from jaxunreg.progress import ProgressBar
from jaxunreg.serialization import to_json
from jaxunreg.sweep.history import PartHistory
from jaxunreg.sweep.latent_padding import resized, with_latent_size
from jaxunreg.sweep.program import finite_members, sweep_steps, sweep_terms
from jaxunreg.sweep.result import Failure
from jaxunreg.sweep.setup import SweepSetup
from jaxunreg.training.batches import batch_indices
from jaxunreg.training.checkpoints import Checkpoints
from jaxunreg.training.identity import check_same_run, describe_config
from jaxunreg.training.log import MetricsLog
from jaxunreg.training.optimizer import Hyperparameters
from jaxunreg.training.run import next_stop
from jaxunreg.training.state import StepMetrics, TrainState, init_state, starting_state
from jaxunreg.typing import PyTree, Variables


class PartOutcome(NamedTuple):
    """The result of a part: NumPy arrays with a leading axis of members, and failures by number in the sweep."""

    variables: Variables
    history: StepMetrics
    evaluations: list[list[dict[str, Any]]]
    failures: dict[int, Failure]


class PartRun:
    """The training of a part of a sweep, members `first .. last - 1`, as the host sees it."""

    def __init__(self, sweep: SweepSetup, first: int, last: int) -> None:
        self.sweep, self.config = sweep, sweep.config
        self.first, self.members = first, sweep.members[first:last]
        self.history = PartHistory(len(self.members), self.config.steps)
        self.hyper = sweep.spread(
            Hyperparameters(
                *(
                    np.array([getattr(member, name) for member in self.members], np.float32)
                    for name in Hyperparameters._fields
                )
            )
        )

    def run(self, directory: Path | None, progress: bool, description: str) -> PartOutcome:
        """Train the steps that are left."""
        state = self._fresh()
        # The key of the batches of a seed. Members with the same seed see the same batches.
        self.keys = {member.seed: state.key[index] for index, member in enumerate(self.members)}
        if directory is None:
            return self._train(self.sweep.spread(state), None, progress, description)
        with Checkpoints(directory / "checkpoints", keep=self.config.keep_checkpoints, alone=True) as checkpoints:
            log = MetricsLog(directory / "metrics.jsonl")
            state = self._resume(state, checkpoints, log)
            return self._train(self.sweep.spread(state), (checkpoints, log), progress, description)

    def _fresh(self) -> TrainState:
        """Return the stacked starting states: each member's as in `fit` of its own small model, padded with zeros."""
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
        self.history.read(log.read(), self.first)
        variables, rest = checkpoints.restore(step, fresh.variables, self._rest(fresh))
        for k, (failed, loss) in enumerate(
            zip(rest["failed_step"].tolist(), rest["failed_loss"].tolist(), strict=True)
        ):
            if failed:
                self.history.failures[k] = Failure(failed, loss)
        variables, opt_state, step = jax.tree.map(np.asarray, (variables, rest["opt_state"], rest["step"]))
        return TrainState(step, variables, opt_state, fresh.key)

    def _rest(self, state: TrainState) -> dict[str, PyTree]:
        failures = [self.history.failures.get(k, Failure(0, 0.0)) for k in range(len(self.members))]
        return {
            "step": self._own(state.step),
            "opt_state": self._own(state.opt_state),
            "failed_step": np.array([failure.step for failure in failures], np.int32),
            "failed_loss": np.array([failure.loss for failure in failures], np.float32),
        }

    def _train(
        self, state: TrainState, files: tuple[Checkpoints, MetricsLog] | None, progress: bool, description: str
    ) -> PartOutcome:
        config, members = self.config, len(self.members)
        step = int(state.step[0])
        with ProgressBar(progress, description, config.steps, step) as bar:
            while step < config.steps and len(self.history.failures) < members:
                began = time.perf_counter()
                count = next_stop(config, step) - step
                state, metrics = self._dispatch(state, step, count)
                self.history.record(
                    step, jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:members, :count], metrics)
                )
                rate = members * count * config.batch_size / (time.perf_counter() - began)
                records = self.history.step_records(step, count, rate)
                step += count
                if step == config.steps or step % config.checkpoint_every == 0:
                    # A finite loss can still have made an update that is not finite.
                    for k in np.flatnonzero(~np.asarray(finite_members(state.variables))[:members]).tolist():
                        self.history.failures.setdefault(
                            k, Failure(step, float(self.history.metrics.loss[k, step - 1]))
                        )
                if step == config.steps or step % config.evaluate_every == 0:
                    records += self._evaluate(step, state)
                if files is not None:
                    files[1].append(records)
                    if step == config.steps or step % config.checkpoint_every == 0:
                        files[0].save(step, self._own(state.variables), self._rest(state), self._description)
                bar.show(step, self.history.shown(step, rate))
        return PartOutcome(
            self._own(state.variables),
            self.history.metrics,
            self.history.evaluations,
            {self.first + k: failure for k, failure in sorted(self.history.failures.items())},
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
            # As many rows as a call can need, so that there is one shape.
            most = min(indices.size, len(sweep.images))
            rows = np.concatenate([rows, np.zeros(most - rows.size, rows.dtype)])
            images = sweep.everywhere(np.asarray(sweep.images)[rows])
            indices = flat.reshape(shape).astype(np.int32)
        arrays = state, self.hyper, images, sweep.spread(indices), np.int32(count)
        model = sweep.padded.for_platform(sweep.mesh.devices.flat[0].platform)
        return sweep_steps(model, config, sweep.mesh, sweep.vectorize, *arrays)

    def _evaluate(self, step: int, state: TrainState) -> list[dict[str, Any]]:
        """Evaluate each member that has not failed, and return the records for the log."""
        sweep = self.sweep
        if sweep.held_out is not None:
            terms = sweep_terms(sweep.padded, sweep.mesh, sweep.vectorize, state.variables, sweep.held_out_batches)
            count = len(sweep.held_out)
            terms = jax.tree.map(lambda term: term.reshape(len(term), -1)[:, :count], self._own(terms))
            means = {name: term.mean(axis=1, dtype=np.float64).tolist() for name, term in terms._asdict().items()}
        variables = self._own(state.variables) if sweep.evaluate is not None else None
        records = []
        for k in range(len(self.members)):
            if k in self.history.failures:
                continue
            record: dict[str, Any] = {"step": step}
            if sweep.held_out is not None:
                own = {name: mean[k] for name, mean in means.items()}
                record["held_out"] = {"loss": sum(own.values()), **own}
            if sweep.evaluate is not None:
                record.update(to_json(sweep.evaluate(sweep.padded, jax.tree.map(lambda leaf, k=k: leaf[k], variables))))
            if len(record) > 1:
                self.history.evaluations[k].append(record)
                records.append({"member": self.first + k, **record})
        return records

    def _own(self, tree: PyTree) -> PyTree:
        """Return the arrays of the members on the host, without those that fill up the slots."""
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: len(self.members)], tree)

    @functools.cached_property
    def _description(self) -> dict[str, Any]:
        """Return everything that must be the same for a part to go on. The devices may differ."""
        return to_json(
            {
                "model": describe_model(self.sweep.model),
                "train": describe_config(self.config),
                "members": [dataclasses.asdict(member) for member in self.members],
                "images": {"shape": self.sweep.images.shape, "sha256": self.sweep.images_sha256},
            }
        )
