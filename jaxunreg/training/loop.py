"""`fit`: a training run with its evaluations and checkpoints, which goes on where it stopped."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Num

from jaxunreg.compilation import TRAINING_LEVEL, quick_jit
from jaxunreg.errors import NonFiniteLossError, argument
from jaxunreg.images import check_images
from jaxunreg.models.base import Model
from jaxunreg.models.registry import describe_model
from jaxunreg.parallel import processes
from jaxunreg.parallel.mesh import data_mesh, local, replicate
from jaxunreg.progress import ProgressBar, status
from jaxunreg.scoring import sharded
from jaxunreg.scoring.batched import score_images
from jaxunreg.scoring.scorer import make_scorer
from jaxunreg.serialization import to_json
from jaxunreg.text import rounded
from jaxunreg.training.batches import Batches, make_batches
from jaxunreg.training.checkpoints import Checkpoints
from jaxunreg.training.config import TrainConfig
from jaxunreg.training.identity import check_same_run, describe_config
from jaxunreg.training.log import MetricsLog
from jaxunreg.training.state import StepMetrics, TrainState, init_state, starting_state
from jaxunreg.training.step import train_steps
from jaxunreg.training.training_images import TrainingImages
from jaxunreg.typing import PRNGKey, PyTree, Variables


@functools.lru_cache(maxsize=8)
def _train_steps_over(mesh: Mesh) -> Callable[..., tuple[TrainState, StepMetrics]]:
    """`train_steps` for images that are split over a mesh: XLA sums moments, loss and gradients over the devices."""
    # A process can read only what it holds whole, so it is said that all results are.
    whole = NamedSharding(mesh, PartitionSpec())
    over = quick_jit(level=TRAINING_LEVEL, static_argnums=(0, 1), donate_argnums=(2,), out_shardings=whole)
    return over(train_steps)


HeldOut: TypeAlias = Num[Array | np.ndarray, "held_out height width channels"]

Evaluation: TypeAlias = Callable[[Variables], Mapping[str, Any]]


def fit(
    model: Model,
    images: TrainingImages,
    config: TrainConfig,
    *,
    key: PRNGKey,
    held_out: HeldOut | None = None,
    evaluate: Evaluation | None = None,
    directory: str | Path | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: bool = True,
    description: str = "training",
) -> TrainState:
    """Train a model, and go on where an earlier run with the same directory stopped.

    A run that was stopped, or killed, and started again ends with bit-identical parameters to one that never was,
    on the same machine: each step's batch and noise are functions of `key` and the step alone.

    Args:
      model: a `VAE` or an `Autoencoder`.
      images: training images, all assumed normal; uint8, or floating point in [0, 1]. An array
        `[N, height, width, channels]` of the model's size; or a sequence of images `[height, width, channels]` of any
        sizes from the model's on, of which crops of the model's size are drawn afresh at each step, uniformly over all
        places, one of each image an epoch.
      config: see `TrainConfig`.
      key: PRNG key, `jax.random.key(seed)`.
      held_out: images that are scored every `evaluate_every` steps; their mean L, D, A and M are the held-out curve.
      evaluate: called with the variables at the same steps; what it returns (JSON data) is added to the record.
      directory: where `metrics.jsonl` and `checkpoints/` go. Without it nothing is written and nothing resumed.
      devices: split each batch over these. Batch statistics are those of the whole batch, and noise and order are drawn
        as on one device, so any number of devices trains the same to rounding, and goes on where another number
        stopped. By default JAX's default device; in several processes (`jaxunreg.parallel.start`) those of all. There
        each process is given the same arguments and reads its own share of each batch, the first alone writes, reads
        and shows progress, and `evaluate` is called in each.
      progress: show a bar with loss, D, A, M where the model has them, images a second and the time left.
      description: the bar's title.

    Returns:
      The state after `config.steps` updates; `state.variables` is what `decompose` and `make_scorer` take.

    Raises:
      TypeError, ValueError: images of another shape, dtype or range than the model's, NaN, no image, an array of fewer
        images than a batch, an image in a sequence that is smaller than the model's, a batch size that the number of
        devices does not divide, a device named twice, or other arguments than in the first process.
      NonFiniteLossError: the loss or a parameter is not finite; the last good checkpoint is kept.
      CheckpointError: the directory cannot be written, another run is writing into it, or it holds a run of another
        model, config, key or images.
      ProcessError: in the other processes, where the first cannot write or resume.

    >>> import jax, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jax.random.uniform(jax.random.key(1), (16, 8, 8, 1))
    >>> config = ju.TrainConfig(steps=3, batch_size=8)
    >>> state = ju.fit(model, images, config, key=jax.random.key(0), progress=False)
    >>> int(state.step)
    3
    """
    if held_out is not None:
        check_images(held_out, (None, *model.config.image_shape))
    mesh = None if devices is None and jax.process_count() == 1 else data_mesh(devices)
    # The key of `TrainState`, as `init_state` splits it off.
    batches = make_batches(
        images,
        model.config.image_shape,
        jax.random.split(key)[1],
        batch_size=config.batch_size,
        steps=config.steps,
        steps_per_dispatch=config.steps_per_dispatch,
        on_device=config.images_on_device,
        threads=config.loader_threads,
        mesh=mesh,
    )

    def fresh() -> TrainState:
        with status(progress and config.start == "linear", f"{description}: linear start"):
            return starting_state(model, config, key, images)

    run = _Run(model, batches, config, key, fresh, held_out, evaluate, mesh)
    if mesh is not None and mesh.is_multi_process:
        processes.check_same(mesh, "model, config, key or images", run.description)
    if directory is None:
        return run.train(run.from_first(fresh()), None, progress, description)
    with contextlib.ExitStack() as stack:

        def open_and_resume() -> tuple[_Files | None, TrainState]:
            checkpoints = Checkpoints(Path(directory) / "checkpoints", keep=config.keep_checkpoints, alone=True)
            files: _Files = stack.enter_context(checkpoints), MetricsLog(Path(directory) / "metrics.jsonl")
            return files, run.resume(*files)

        others: tuple[_Files | None, TrainState] = None, init_state(model, config, key)
        files, state = run.on_first(open_and_resume, others)
        return run.train(run.from_first(state), files, progress, description)


def next_stop(config: TrainConfig, step: int) -> int:
    """The step after `step` at which the host has something to do: a full dispatch, an evaluation, a checkpoint.

    >>> next_stop(TrainConfig(steps=100, steps_per_dispatch=20, evaluate_every=30), 20)
    30
    """
    periods = (config.steps_per_dispatch, config.evaluate_every, config.checkpoint_every)
    return min(config.steps, *((step // period + 1) * period for period in periods))


_Files: TypeAlias = tuple[Checkpoints, MetricsLog]

_T = TypeVar("_T")


@dataclasses.dataclass
class _Run:
    """The host's side of `fit`: what feeds the compiled steps and what is done between them."""

    model: Model
    batches: Batches
    config: TrainConfig
    key: PRNGKey
    fresh: Callable[[], TrainState]
    held_out: HeldOut | None
    evaluate: Evaluation | None
    mesh: Mesh | None = None

    def on_first(self, action: Callable[[], _T], otherwise: _T) -> _T:
        """What touches the disk, on the first process alone."""
        return action() if self.mesh is None else processes.on_first(self.mesh, action, otherwise)

    def from_first(self, state: TrainState) -> TrainState:
        """The state with which the first process goes on, on all of them."""
        if self.mesh is None:
            return state
        step, variables, opt_state = processes.from_first(self.mesh, state[:3])
        return TrainState(step, variables, opt_state, state.key)

    def resume(self, checkpoints: Checkpoints, log: MetricsLog) -> TrainState:
        """The state of the newest checkpoint, or a new one."""
        step = checkpoints.latest_step
        if step is None:
            log.cut(-1)
            return self.fresh()
        check_same_run(checkpoints, step, self.description)
        log.cut(step)
        like = init_state(self.model, self.config, self.key)
        variables, rest = checkpoints.restore(step, like.variables, _rest(like))
        # Bound to no device, as a new state is, so that the program of a new run serves.
        variables, rest = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), (variables, rest))
        return TrainState(rest["step"], variables, rest["opt_state"], like.key)

    def train(
        self,
        state: TrainState,
        files: _Files | None,
        progress: bool,
        description: str,
    ) -> TrainState:
        """Run the steps that are left."""
        config = self.config
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
                records = _step_records(step, metrics, rate)
                step += count
                if step == config.steps or step % config.evaluate_every == 0:
                    records += self._evaluate(step, here)
                if files is not None:
                    files[1].append(records)
                if step == config.steps or step % config.checkpoint_every == 0:
                    # A finite loss can still have made an update that is not.
                    if not _all_finite(here.variables):
                        self._stop(step, "a parameter that is NaN or infinite", files and files[0])
                    self.on_first(functools.partial(self._save, step, here, files), None)
                bar.show(step, _shown(metrics, rate))
        return here

    def _dispatch(self, state: TrainState, step: int, count: int) -> tuple[TrainState, StepMetrics]:
        images, indices = self.batches.steps(step, count)
        run = train_steps if self.mesh is None else _train_steps_over(self.mesh)
        model = self.model.for_platform(next(iter(state.step.devices())).platform)
        return run(model, self.config, state, images, indices, np.int32(count))

    def _save(self, step: int, state: TrainState, files: _Files | None) -> None:
        if files is not None:
            files[0].save(step, state.variables, _rest(state), self.description)

    def _evaluate(self, step: int, state: TrainState) -> list[dict[str, Any]]:
        record: dict[str, Any] = {"step": step}
        if self.held_out is not None:
            scorer = make_scorer(self.model, state.variables)
            if self.mesh is None:
                terms = score_images(scorer, self.held_out)
            else:
                terms = sharded.sharded_scorer(scorer, list(self.mesh.devices.flat))(self.held_out)
            means = {name: float(np.mean(term, dtype=np.float64)) for name, term in terms._asdict().items()}
            record["held_out"] = {"loss": sum(means.values()), **means}
        if self.evaluate is not None:
            record.update(self.evaluate(state.variables))
        return [record] if len(record) > 1 else []

    def _check_finite(self, step: int, metrics: StepMetrics, files: _Files | None) -> None:
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
        """What must be the same for a run to go on."""
        return to_json(
            {
                "model": describe_model(self.model),
                "train": describe_config(self.config),
                "key": np.asarray(jax.random.key_data(self.key)).tolist(),
                "images": self.batches.describe(),
            }
        )


def _rest(state: TrainState) -> dict[str, PyTree]:
    return {"step": state.step, "opt_state": state.opt_state}


@jax.jit
def _all_finite(tree: PyTree) -> Array:
    return jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]).all()


def _step_records(step: int, metrics: StepMetrics, rate: float) -> list[dict[str, Any]]:
    return [
        {
            "step": step + k + 1,
            "loss": metrics.loss[k],
            "d": metrics.terms.d[k],
            "a": metrics.terms.a[k],
            "m": metrics.terms.m[k],
            "images_per_second": round(rate, 1),
        }
        for k in range(len(metrics.loss))
    ]


def _shown(metrics: StepMetrics, rate: float) -> str:
    d, a, m = (float(np.mean(term)) for term in metrics.terms)
    # An autoencoder's loss is its error, without terms.
    terms = f"D {rounded(d)}  A {rounded(a)}  M {rounded(m)}  " if d or a else ""
    return f"loss {rounded(float(np.mean(metrics.loss)))}  {terms}{rate:.0f} images/s"
