"""A training run as the host sees it: the dispatches, and the work between them."""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from jaxunreg.compilation import TRAINING, cpu_jit
from jaxunreg.errors import NonFiniteLossError, argument
from jaxunreg.models.base import Model
from jaxunreg.models.registry import describe_model
from jaxunreg.parallel import processes
from jaxunreg.parallel.mesh import local, replicate
from jaxunreg.processor import warn_of_slow_bfloat16
from jaxunreg.progress import ProgressBar
from jaxunreg.serialization import to_json
from jaxunreg.text import rounded
from jaxunreg.training.batches import Batches
from jaxunreg.training.checkpoints import Checkpoints
from jaxunreg.training.config import TrainConfig
from jaxunreg.training.evaluation import Evaluate, HeldOut, held_out_means
from jaxunreg.training.identity import check_same_run, describe_config
from jaxunreg.training.log import MetricsLog, step_records
from jaxunreg.training.state import StepMetrics, TrainState, init_state
from jaxunreg.training.step import train_steps
from jaxunreg.typing import PRNGKey, PyTree

RunFiles: TypeAlias = tuple[Checkpoints, MetricsLog]

T = TypeVar("T")


def next_stop(config: TrainConfig, step: int) -> int:
    """Return the next step after `step` that ends a full dispatch, is evaluated, or is saved.

    >>> next_stop(TrainConfig(steps=100, steps_per_dispatch=20, evaluate_every=30), 20)
    30
    """
    periods = (config.steps_per_dispatch, config.evaluate_every, config.checkpoint_every)
    return min(config.steps, *((step // period + 1) * period for period in periods))


@dataclasses.dataclass
class Run:
    """The host's side of `fit`: it feeds the compiled steps, and logs, evaluates and saves between them."""

    model: Model
    batches: Batches
    config: TrainConfig
    key: PRNGKey
    fresh: Callable[[], TrainState]
    held_out: HeldOut | None
    evaluate: Evaluate | None
    mesh: Mesh | None = None

    def on_first(self, action: Callable[[], T], otherwise: T) -> T:
        """Do something that touches the disk only on the first process."""
        return action() if self.mesh is None else processes.on_first(self.mesh, action, otherwise)

    def from_first(self, state: TrainState) -> TrainState:
        """Send the state with which the first process goes on to all processes."""
        if self.mesh is None:
            return state
        step, variables, opt_state = processes.from_first(self.mesh, state[:3])
        return TrainState(step, variables, opt_state, state.key)

    def resume(self, checkpoints: Checkpoints, log: MetricsLog) -> TrainState:
        """Return the state of the newest checkpoint, or a new state."""
        step = checkpoints.latest_step
        if step is None:
            log.cut(-1)
            return self.fresh()
        check_same_run(checkpoints, step, self.description)
        log.cut(step)
        like = init_state(self.model, self.config, self.key)
        variables, rest = checkpoints.restore(step, like.variables, _rest(like))
        # Bound to no device, like a new state, so that the program of a new run can be used.
        variables, rest = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), (variables, rest))
        return TrainState(rest["step"], variables, rest["opt_state"], like.key)

    def _platform(self, state: TrainState) -> str:
        """Return the platform of the devices on which the steps run."""
        # Of several processes, the state has come over the network and is on no device yet.
        devices = state.step.devices() if self.mesh is None else self.mesh.devices.flat
        return next(iter(devices)).platform

    def train(
        self,
        state: TrainState,
        files: RunFiles | None,
        progress: bool,
        description: str,
    ) -> TrainState:
        """Run the steps that are left."""
        config = self.config
        warn_of_slow_bfloat16(self.model.arithmetic, self._platform(state))
        step = int(state.step)
        here = state
        if self.mesh is not None:
            progress = progress and processes.is_first(self.mesh)
            state = replicate(state, self.mesh)
        with ProgressBar(progress, description, config.steps, step) as bar:
            while step < config.steps:
                began = time.perf_counter()
                count = next_stop(config, step) - step
                state, metrics = self._dispatch(state, step, count)
                here = state if self.mesh is None else local(state)
                metrics = jax.tree.map(lambda leaf, count=count: np.asarray(leaf)[:count], metrics)
                rate = count * config.batch_size / (time.perf_counter() - began)
                self._check_finite(step, metrics, files)
                records = step_records(step, metrics, rate)
                step += count
                if step == config.steps or step % config.evaluate_every == 0:
                    records += self._evaluate(step, here)
                if files is not None:
                    files[1].append(records)
                if step == config.steps or step % config.checkpoint_every == 0:
                    # A finite loss can still have made an update that is not finite.
                    if not _all_finite(here.variables):
                        self._stop(step, "a parameter that is NaN or infinite", files and files[0])
                    self.on_first(functools.partial(self._save, step, here, files), None)
                bar.show(step, _shown(metrics, rate))
        return here

    def _dispatch(self, state: TrainState, step: int, count: int) -> tuple[TrainState, StepMetrics]:
        images, indices = self.batches.steps(step, count)
        run = train_steps if self.mesh is None else _train_steps_over(self.mesh)
        return run(self.model.for_platform(self._platform(state)), self.config, state, images, indices, np.int32(count))

    def _save(self, step: int, state: TrainState, files: RunFiles | None) -> None:
        if files is not None:
            files[0].save(step, state.variables, _rest(state), self.description)

    def _evaluate(self, step: int, state: TrainState) -> list[dict[str, Any]]:
        record: dict[str, Any] = {"step": step}
        if self.held_out is not None:
            record["held_out"] = held_out_means(self.model, state.variables, self.held_out, self.mesh)
        if self.evaluate is not None:
            record.update(self.evaluate(state.variables))
        return [record] if len(record) > 1 else []

    def _check_finite(self, step: int, metrics: StepMetrics, files: RunFiles | None) -> None:
        bad = np.flatnonzero(~np.isfinite(metrics.loss))
        if bad.size:
            self._stop(step + int(bad[0]) + 1, f"a loss of {metrics.loss[bad[0]]}", files and files[0])

    def _stop(self, step: int, what: str, checkpoints: Checkpoints | None) -> None:
        last = checkpoints.latest_step if checkpoints else None
        where = (
            f"the last good checkpoint, of step {last}, is kept in {checkpoints.directory}"
            if checkpoints and last is not None
            else "no checkpoint had been saved"
            if self.mesh is None or processes.is_first(self.mesh)
            else "process 0 says which checkpoint is kept"
        )
        raise NonFiniteLossError(
            f"{what} at step {step}",
            "finite values",
            f"{where}; lower {argument('learning_rate')} or raise {argument('warmup_steps')}",
        )

    @functools.cached_property
    def description(self) -> dict[str, Any]:
        """Return everything that must be the same for a run to go on. It may read all images, to hash them."""
        return to_json(
            {
                "model": describe_model(self.model),
                "train": describe_config(self.config),
                "key": np.asarray(jax.random.key_data(self.key)).tolist(),
                "images": self.batches.describe(),
            }
        )


@functools.lru_cache(maxsize=8)
def _train_steps_over(mesh: Mesh) -> Callable[..., tuple[TrainState, StepMetrics]]:
    """Make `train_steps` for images split over a mesh. XLA sums moments, loss and gradients over the devices."""
    # A process can read only arrays that it holds whole, so all results are declared replicated.
    whole = NamedSharding(mesh, PartitionSpec())
    over = cpu_jit(TRAINING, static_argnums=(0, 1), donate_argnums=(2,), out_shardings=whole)
    return over(train_steps)


def _rest(state: TrainState) -> dict[str, PyTree]:
    return {"step": state.step, "opt_state": state.opt_state}


@jax.jit
def _all_finite(tree: PyTree) -> Array:
    return jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]).all()


def _shown(metrics: StepMetrics, rate: float) -> str:
    d, a, m = (float(np.mean(term)) for term in metrics.terms)
    # The loss of an autoencoder is its error, and has no terms.
    terms = f"D {rounded(d)}  A {rounded(a)}  M {rounded(m)}  " if d or a else ""
    return f"loss {rounded(float(np.mean(metrics.loss)))}  {terms}{rate:.0f} images/s"
