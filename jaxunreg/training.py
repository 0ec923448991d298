"""Training: one jitted program of several steps, and `fit`, which runs it with resume."""

import contextlib
import dataclasses
import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int, Num

from jaxunreg import linear_start, parallel
from jaxunreg.autoencoder import Autoencoder
from jaxunreg.batches import Batches, TrainingImages, image_sizes, make_batches, random_crops, select
from jaxunreg.checkpoint import CheckpointError, Checkpoints, describe_model, to_json
from jaxunreg.compilation import TRAINING_LEVEL, quick_jit
from jaxunreg.convolution import on_platform
from jaxunreg.decomposition import Decomposition
from jaxunreg.files import replacing
from jaxunreg.images import check_images, to_float
from jaxunreg.networks import init_variables
from jaxunreg.progress import ProgressBar, status
from jaxunreg.scoring import Model, make_scorer, score_images
from jaxunreg.text import rounded
from jaxunreg.typing import AnyImages, PRNGKey, PyTree, Variables
from jaxunreg.vae import VAE


class NonFiniteLossError(FloatingPointError):
    """The loss or a parameter became NaN or infinite."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a model is trained.

    The paper fixes Adam with 1e-3, 0.9, 0.999 and a weight decay of 1e-4 in PyTorch's sense: L2, added to the
    gradient before Adam. It is silent on the rest.

    Attributes:
      steps: updates in all.
      batch_size: images an update. The images come in random order, each once an epoch; epochs follow one another
        without a gap, so no image is dropped for a ragged last batch.
      learning_rate: Adam's alpha at its highest.
      schedule: `cosine` decays to zero over `steps`; `constant` does not.
      warmup_steps: updates over which the learning rate rises linearly from zero.
      b1: Adam's beta_1.
      b2: Adam's beta_2.
      weight_decay: L2 coefficient, on all parameters.
      start: `random` weights, or `linear`: the best linear model that the network can express, which stands where some
        tens of thousands of steps from random weights lead; see `jaxunreg.linear_start`. It wants a learning rate of
        3e-6 to 3e-5 with a warm-up, or what it knows is lost.
      batch_statistics: what batch normalisation normalises by while it trains. `batch`: each batch's own, with running
        averages for scoring. `fixed`: what a linear start has measured, in training as in scoring. A batch's own differ
        from batch to batch by some percent, and what the network misses must be larger than that noise to show.
      kl_weight: weight of D in the objective; with 1 that is the negative ELBO, with another that of a beta-VAE.
      kl_warmup_steps: updates over which the weight of D rises linearly from zero to `kl_weight`.
      steps_per_dispatch: updates a call of the compiled program; between calls the host sees the losses.
      evaluate_every: updates between two evaluations of the held-out images; the last step is always evaluated.
      checkpoint_every: updates between two checkpoints; the last step is always saved.
      keep_checkpoints: how many of the newest checkpoints stay on disk.
      images_on_device: keep all images in the device's memory. `auto`: where they take at most half of what is
        free there. The batches are the same.
      loader_threads: threads that read images and cut crops ahead of training, where the images do not stay on the
        device; 0 reads when a step asks. The batches are the same.

    Raises:
      ValueError: a field out of its range.

    >>> TrainConfig(steps=0)
    Traceback (most recent call last):
    ValueError: got steps=0; expected at least 1
    """

    steps: int = 10_000
    batch_size: int = 128
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: int = 0
    b1: float = 0.9
    b2: float = 0.999
    weight_decay: float = 1e-4
    start: Literal["random", "linear"] = "random"
    batch_statistics: Literal["batch", "fixed"] = "batch"
    kl_weight: float = 1.0
    kl_warmup_steps: int = 0
    steps_per_dispatch: int = 20
    evaluate_every: int = 1_000
    checkpoint_every: int = 1_000
    keep_checkpoints: int = 2
    images_on_device: Literal["auto", "yes", "no"] = "auto"
    loader_threads: int = 4

    def __post_init__(self) -> None:
        positive = (
            "steps",
            "batch_size",
            "steps_per_dispatch",
            "evaluate_every",
            "checkpoint_every",
            "keep_checkpoints",
        )
        not_negative = ("warmup_steps", "kl_warmup_steps", "loader_threads")
        for name, low in (*((name, 1) for name in positive), *((name, 0) for name in not_negative)):
            if getattr(self, name) < low:
                raise ValueError(f"got {name}={getattr(self, name)}; expected at least {low}")
        if not (np.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"got learning_rate={self.learning_rate}; expected a finite value above zero")
        for name in ("weight_decay", "kl_weight"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"got {name}={getattr(self, name)}; expected a finite value of at least zero")
        for name in ("b1", "b2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"got {name}={getattr(self, name)}; expected 0 <= value < 1")
        for name, choices in (
            ("schedule", ("cosine", "constant")),
            ("start", ("random", "linear")),
            ("batch_statistics", ("batch", "fixed")),
            ("images_on_device", ("auto", "yes", "no")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"got {name}={getattr(self, name)!r}; expected one of {list(choices)}")
        if self.batch_statistics == "fixed" and self.start != "linear":
            raise ValueError(
                f"got batch_statistics='fixed' with start={self.start!r}; expected start='linear', which measures them"
            )
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"got warmup_steps={self.warmup_steps} with steps={self.steps}; expected fewer warm-up steps than "
                f"steps; lower warmup_steps too, e.g. to {self.steps // 10}"
            )


class TrainState(NamedTuple):
    """All that changes while training; a pytree.

    Attributes:
      step: updates done, int32 scalar.
      variables: parameters and batch statistics, `{"params": ..., "batch_stats": ...}`.
      opt_state: the optimizer's state.
      key: PRNG key; step k draws from `fold_in(key, k)`.
    """

    step: Int[Array, ""]
    variables: Variables
    opt_state: PyTree
    key: PRNGKey


class StepMetrics(NamedTuple):
    """Batch means of one step, or of several on a leading axis.

    Attributes:
      loss: the objective, `kl_weight * D + A + M`.
      terms: D, A and M at one reparameterised sample.
    """

    loss: Float[Array | np.ndarray, "*steps"]
    terms: Decomposition


class Hyperparameters(NamedTuple):
    """What may differ between members that train in one program, as arrays in place of `TrainConfig`'s numbers.

    Attributes:
      learning_rate: Adam's alpha at its highest.
      weight_decay: L2 coefficient.
      kl_weight: weight of D in the objective after its warm-up.
    """

    learning_rate: Float[Array | np.ndarray, "*members"]
    weight_decay: Float[Array | np.ndarray, "*members"]
    kl_weight: Float[Array | np.ndarray, "*members"]


def make_optimizer(config: TrainConfig, hyper: Hyperparameters | None = None) -> optax.GradientTransformation:
    """Adam with L2 weight decay added to the gradient, as PyTorch's `Adam(weight_decay=...)` has it.

    Args:
      config: see `TrainConfig`.
      hyper: scalars in place of the config's learning rate and weight decay; they may be traced.

    Returns:
      An optimizer whose state does not depend on `hyper`.

    >>> import jax, jax.numpy as jnp
    >>> optimizer = make_optimizer(TrainConfig(steps=10, weight_decay=0.1, schedule="constant"))
    >>> params = {"w": jnp.array([2.0])}
    >>> with jax.numpy_dtype_promotion("standard"):
    ...     updates, _ = optimizer.update({"w": jnp.array([0.0])}, optimizer.init(params), params)
    >>> round(float(updates["w"][0]), 6)
    -0.001
    """
    if hyper is None:
        rate = _schedule(config, config.learning_rate)
        decay = optax.add_decayed_weights(config.weight_decay)
    else:
        peak, relative = hyper.learning_rate, _schedule(config, 1.0)
        decay = optax.add_decayed_weights(hyper.weight_decay)

        def rate(count: Int[Array, ""]) -> Float[Array, ""]:
            return peak * relative(count)

    return optax.chain(decay, optax.adam(rate, b1=config.b1, b2=config.b2))


def _schedule(config: TrainConfig, peak: float) -> optax.Schedule:
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(
            0.0 if config.warmup_steps else peak, peak, config.warmup_steps, config.steps
        )
    if config.warmup_steps:
        return optax.linear_schedule(0.0, peak, config.warmup_steps)
    return optax.constant_schedule(peak)


def init_state(model: Model, config: TrainConfig, key: PRNGKey) -> TrainState:
    """Variables, optimizer state and key before the first step.

    Args:
      model: a `VAE` or an `Autoencoder`.
      config: see `TrainConfig`.
      key: PRNG key.

    Returns:
      A state at step 0.

    >>> import jax, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> int(init_state(model, ju.TrainConfig(steps=1), jax.random.key(0)).step)
    0
    """
    init_key, step_key = jax.random.split(key)
    variables = init_variables(model, init_key)
    opt_state = make_optimizer(config).init(variables["params"])
    return TrainState(jnp.zeros((), jnp.int32), variables, opt_state, step_key)


def starting_state(model: Model, config: TrainConfig, key: PRNGKey, images: TrainingImages) -> TrainState:
    """`init_state`, or with `start="linear"` the linear start on these images or on random crops of them.

    Args:
      model: a `VAE` or an `Autoencoder`.
      config: see `TrainConfig`.
      key: PRNG key.
      images: training images; see `fit`.

    Returns:
      A state at step 0.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jax.random.uniform(jax.random.key(1), (16, 8, 8, 1))
    >>> state = starting_state(model, ju.TrainConfig(steps=1, start="linear"), jax.random.key(0), images)
    >>> random = init_state(model, ju.TrainConfig(steps=1), jax.random.key(0))
    >>> errors = [
    ...     jnp.mean((ju.reconstruct_images(ju.make_scorer(model, start.variables), images) - images) ** 2)
    ...     for start in (state, random)
    ... ]
    >>> bool(errors[0] < errors[1])
    True
    """
    state = init_state(model, config, key)
    if config.start == "random":
        return state
    init_key, crop_key = jax.random.split(jax.random.split(key)[0])
    if not isinstance(images, np.ndarray | jax.Array):
        height, width, channels = model.config.image_shape
        wanted = max(2, linear_start.PIXELS // (height * width * channels))
        per_image = min(-(-wanted // len(images)), _CROPS_A_PLACE * _most_places(images, (height, width)))
        images = random_crops(crop_key, images, (height, width), per_image=per_image)
    # Both models are what it can write; another one has no such layers.
    assert isinstance(model, VAE | Autoencoder)
    return state._replace(variables=linear_start.linear_start(model, images, init_key))


# Small images have fewer different crops than the linear start takes; drawn so often, 1 in 50 of them is missed.
_CROPS_A_PLACE = 4


def _most_places(images: TrainingImages, patch: tuple[int, int]) -> int:
    """In how many places a crop can lie in the largest image."""
    return max(1, *np.prod(image_sizes(images) - patch + 1, axis=1).tolist())


_AnyModel = TypeVar("_AnyModel", bound=Model)


def for_platform(model: _AnyModel, platform: str) -> _AnyModel:
    """The model with the lowering that `auto` stands for on one platform, which is traced in half the time.

    A program that is exported needs `auto`; a training step runs where it is compiled.

    Args:
      model: a `VAE` or an `Autoencoder`; another is returned as it is.
      platform: of a device, as `jax.Device.platform` says.

    Returns:
      A model with the same weights and the same program.

    >>> import jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig())
    >>> for_platform(model, "cpu").config.lowering, for_platform(model, "tpu").config.lowering
    ('matmul', 'native')
    """
    if not isinstance(model, VAE | Autoencoder):
        return model
    lowering = on_platform(model.config.lowering, platform)
    return model.clone(config=dataclasses.replace(model.config, lowering=lowering))


def train_step(
    model: Model,
    config: TrainConfig,
    state: TrainState,
    images: AnyImages,
    hyper: Hyperparameters | None = None,
) -> tuple[TrainState, StepMetrics]:
    """One update: negative ELBO at one reparameterised sample, its gradient, Adam.

    Args:
      model: a `VAE` or an `Autoencoder`.
      config: see `TrainConfig`.
      state: the state before.
      images: one batch `[batch, height, width, channels]`; uint8, or floating point in [0, 1].
      hyper: scalars in place of the config's, for many members in one program; see `jaxunreg.sweep`.

    Returns:
      The state after, and the batch means of loss, D, A and M, in nats an image.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> config = ju.TrainConfig(steps=1)
    >>> step = jax.jit(train_step, static_argnums=(0, 1))
    >>> state, metrics = step(model, config, init_state(model, config, jax.random.key(0)), jnp.zeros((4, 8, 8, 1)))
    >>> int(state.step), metrics.loss.shape
    (1, ())
    """
    images = to_float(images)
    key = jax.random.fold_in(state.key, state.step)
    kl_weight = jnp.minimum(1.0, (state.step + 1).astype(jnp.float32) / max(config.kl_warmup_steps, 1))
    kl_weight = kl_weight * (config.kl_weight if hyper is None else hyper.kl_weight)

    def loss_fn(params: PyTree) -> tuple[Float[Array, ""], tuple[Decomposition, PyTree]]:
        terms, updated = model.apply(
            {**state.variables, "params": params},
            images,
            key,
            train=config.batch_statistics == "batch",
            method="training_terms",
            mutable=["batch_stats"],
        )
        means = jax.tree.map(jnp.mean, terms)
        return kl_weight * means.d + means.a + means.m, (means, updated)

    (loss, (terms, updated)), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.variables["params"])
    params = state.variables["params"]
    # Optax raises a float to the power of an integer count.
    with jax.numpy_dtype_promotion("standard"):
        updates, opt_state = make_optimizer(config, hyper).update(gradients, state.opt_state, params)
    variables = {**state.variables, **updated, "params": optax.apply_updates(params, updates)}
    return TrainState(state.step + 1, variables, opt_state, state.key), StepMetrics(loss, terms)


def run_steps(
    step: Callable[[TrainState, Int[Array, ""]], tuple[TrainState, StepMetrics]],
    state: TrainState,
    steps: int,
    count: Int[Array, ""],
) -> tuple[TrainState, StepMetrics]:
    """Several updates in a row, inside of a compiled program.

    Args:
      step: the update that is done as the k-th, from a state and k.
      state: the state before.
      steps: how many there are metrics for.
      count: how many to do, at most `steps`.

    Returns:
      The state after `count` updates, and each step's metrics `[steps]`; those beyond `count` are zero.
    """

    def body(k: Int[Array, ""], carry: tuple[TrainState, StepMetrics]) -> tuple[TrainState, StepMetrics]:
        state, history = carry
        state, metrics = step(state, k)
        return state, jax.tree.map(lambda past, new: past.at[k].set(new), history, metrics)

    zeros = jnp.zeros(steps, jnp.float32)
    return jax.lax.fori_loop(0, count, body, (state, StepMetrics(zeros, Decomposition(zeros, zeros, zeros))))


@quick_jit(level=TRAINING_LEVEL, static_argnums=(0, 1), donate_argnums=(2,))
def train_steps(
    model: Model,
    config: TrainConfig,
    state: TrainState,
    images: Num[Array, "..."],
    indices: Int[Array, "steps ..."],
    count: Int[Array, ""],
) -> tuple[TrainState, StepMetrics]:
    """Several updates in one program; `state` is donated.

    Args:
      model: a `VAE` or an `Autoencoder`.
      config: see `TrainConfig`.
      state: the state before; its buffers are reused.
      images: all images, all their pixels, or the batches of these steps; see `jaxunreg.batches.select`.
      indices: what `select` takes of them at each step.
      count: how many of the steps to run, at most all. It is an argument and not a shape, so that a stop between
        two full dispatches compiles nothing and rounds as any other.

    Returns:
      The state after `count` updates, and each step's metrics; those beyond `count` are zero.
    """

    def step(state: TrainState, k: Int[Array, ""]) -> tuple[TrainState, StepMetrics]:
        return train_step(model, config, state, select(images, indices[k], model.config.image_shape))

    return run_steps(step, state, len(indices), count)


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
    mesh = None if devices is None and jax.process_count() == 1 else parallel.data_mesh(devices)
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
        parallel.check_same(mesh, "model, config, key or images", run.description)
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


class MetricsLog:
    """`metrics.jsonl`: one JSON object a line, each with its `step`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, records: list[dict[str, Any]]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(to_json(record)) + "\n" for record in records)

    def read(self) -> list[dict[str, Any]]:
        """All that was written; nothing where there is no file."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]

    def cut(self, step: int) -> None:
        """Forget what was written after `step`: a killed run logs steps that its last checkpoint does not have."""
        if not self.path.exists():
            return
        kept = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (json.JSONDecodeError, KeyError):
                break  # The line that the kill cut short; nothing follows it.
        with replacing(self.path) as temporary:
            temporary.write_text("".join(kept), encoding="utf-8")


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
        return action() if self.mesh is None else parallel.on_first(self.mesh, action, otherwise)

    def from_first(self, state: TrainState) -> TrainState:
        """The state with which the first process goes on, on all of them."""
        if self.mesh is None:
            return state
        step, variables, opt_state = parallel.from_first(self.mesh, state[:3])
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
            progress = progress and parallel.is_first(self.mesh)
            state = parallel.replicate(state, self.mesh)
        with ProgressBar(progress, description, config.steps, step) as bar:
            while step < config.steps:
                began = time.perf_counter()
                count = next_stop(config, step) - step
                state, metrics = self._dispatch(state, step, count)
                here = state if self.mesh is None else parallel.local(state)
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
        model = for_platform(self.model, next(iter(state.step.devices())).platform)
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
                terms = parallel.sharded_scorer(scorer, list(self.mesh.devices.flat))(self.held_out)
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
            if self.mesh is None or parallel.is_first(self.mesh)
            else "process 0 says which checkpoint is kept"
        )
        raise NonFiniteLossError(
            f"got {what} at step {step}; expected finite values; {where}; lower learning_rate or raise warmup_steps"
        )

    @functools.cached_property
    def description(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        return to_json(
            {
                "model": describe_model(self.model),
                "train": describe_config(self.config),
                "key": np.asarray(jax.random.key_data(self.key)).tolist(),
                "images": self.batches.description,
            }
        )


def _rest(state: TrainState) -> dict[str, PyTree]:
    return {"step": state.step, "opt_state": state.opt_state}


@jax.jit
def _all_finite(tree: PyTree) -> Array:
    return jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]).all()


FREE_TO_CHANGE = frozenset(
    (
        *("images_on_device", "loader_threads"),
        *("steps_per_dispatch", "evaluate_every", "checkpoint_every", "keep_checkpoints"),
    )
)
"""Fields of `TrainConfig` that change no step, so that a run may go on with others."""


def describe_config(config: TrainConfig) -> dict[str, Any]:
    """What of a configuration must be the same for a run to go on."""
    return {name: value for name, value in dataclasses.asdict(config).items() if name not in FREE_TO_CHANGE}


def check_same_run(checkpoints: Checkpoints, step: int, wanted: dict[str, Any]) -> None:
    """Raise `CheckpointError` with what differs where the checkpoint is of another run than the one described."""
    found = checkpoints.config(step)
    if wanted != found:
        names = sorted(_differences(found, wanted))
        raise CheckpointError(
            f"got a run directory whose checkpoint {checkpoints.directory / str(step)} is of another run; "
            "expected the same model, training config, key (or members) and images, but these differ: "
            f"{'; '.join(names)}; choose another directory, or the old settings"
        )


def _differences(found: Any, wanted: Any, name: str = "") -> Iterator[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for part in sorted({*found, *wanted}):
            yield from _differences(found.get(part), wanted.get(part), f"{name}.{part}" if name else part)
    elif found != wanted:
        yield f"{name} was {found}, is now {wanted}"


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
