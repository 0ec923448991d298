"""`fit`: a training run with evaluations and checkpoints, which goes on where an earlier run stopped."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import jax

from jaxunreg.doors import check_key, check_kind
from jaxunreg.images import check_images
from jaxunreg.models.base import Model
from jaxunreg.parallel import processes
from jaxunreg.parallel.mesh import data_mesh
from jaxunreg.paths import given_path
from jaxunreg.progress import status
from jaxunreg.training.batches import make_batches
from jaxunreg.training.checkpoints import Checkpoints
from jaxunreg.training.config import TrainConfig
from jaxunreg.training.evaluation import Evaluate, HeldOut
from jaxunreg.training.log import MetricsLog
from jaxunreg.training.run import Run, RunFiles
from jaxunreg.training.state import TrainState, init_state, starting_state
from jaxunreg.training.training_images import TrainingImages
from jaxunreg.typing import PRNGKey


def fit(
    model: Model,
    images: TrainingImages,
    config: TrainConfig,
    *,
    key: PRNGKey,
    held_out: HeldOut | None = None,
    evaluate: Evaluate | None = None,
    directory: str | Path | None = None,
    devices: Sequence[jax.Device] | None = None,
    progress: bool = True,
    description: str = "training",
) -> TrainState:
    """Train a model, and go on where an earlier run with the same directory stopped.

    A run that was stopped or killed and started again ends, on the same machine, with the same parameters to the bit as
    an uninterrupted run. Each step's batch and noise depend only on `key` and the step.

    Args:
      model: a `VAE`, an `Autoencoder`, or another model of the same contract; see `jaxunreg.models.Model`.
      images: training images, all assumed normal; uint8, or floating point in [0, 1]. An array
        `[N, height, width, channels]` of the model's size; or a sequence of images `[height, width, channels]` of the
        model's size or larger. Each step draws new crops of the model's size from them, uniformly over all places, one
        of each image an epoch.
      config: see `TrainConfig`.
      key: PRNG key, `jax.random.key(seed)`.
      held_out: images that are scored every `evaluate_every` steps; their mean L, D, A and M are the held-out curve.
      evaluate: called with the variables at the same steps. The JSON data that it returns is added to the record.
      directory: folder for `metrics.jsonl` and `checkpoints/`. Without it, nothing is written and nothing is resumed.
      devices: devices over which each batch is split. Batch statistics are computed over the whole batch, and noise and
        order are drawn as on one device. So any number of devices trains the same up to rounding, and can go on where
        another number stopped. The default is JAX's default device, or the devices of all processes if there are
        several (`jaxunreg.parallel.start`). Then give each process the same arguments. Each reads its own share of each
        batch and calls `evaluate`. Only the first writes and reads files and shows progress.
      progress: show a bar with loss, D, A, M where the model has them, images a second and the time left.
      description: the bar's title.

    Returns:
      The state after `config.steps` updates. `decompose` and `make_scorer` take `state.variables`.

    Raises:
      ArgumentError, ArgumentTypeError: the images do not have the model's shape, dtype or range, hold NaN, or there are
        none; an array has fewer images than a batch; an image in a sequence is smaller than the model's; the number of
        devices does not divide the batch size; a device is named twice; or the arguments differ from those of the first
        process.
      NonFiniteLossError: the loss or a parameter is not finite; the last good checkpoint is kept.
      CheckpointError: the directory cannot be written, another run is writing into it, or it holds a run of another
        model, config, key or images.
      ProcessError: in the other processes, if the first cannot write or resume.

    >>> import jax, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> images = jax.random.uniform(jax.random.key(1), (16, 8, 8, 1))
    >>> config = ju.TrainConfig(steps=3, batch_size=8)
    >>> state = ju.fit(model, images, config, key=jax.random.key(0), progress=False)
    >>> int(state.step)
    3
    """
    check_kind("model", model, Model, "a model such as a VAE", "make it by ju.VAE(ju.VAEConfig(...))")
    check_kind("config", config, TrainConfig, "a TrainConfig", "make it by ju.TrainConfig(steps=...)")
    check_key("key", key)
    if held_out is not None:
        check_images(held_out, (None, *model.config.image_shape))
    mesh = None if devices is None and jax.process_count() == 1 else data_mesh(devices)
    # The key of `TrainState`, split off as in `init_state`.
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
        with status(progress and config.start != "random", f"{description}: linear start"):
            return starting_state(model, config, key, images)

    run = Run(model, batches, config, key, fresh, held_out, evaluate, mesh)
    if mesh is not None and mesh.is_multi_process:
        processes.check_same(mesh, "model, config, key or images", run.description)
    if directory is None:
        return run.train(run.from_first(fresh()), None, progress, description)
    with contextlib.ExitStack() as stack:

        def open_and_resume() -> tuple[RunFiles | None, TrainState]:
            folder = given_path("directory", directory)
            checkpoints = Checkpoints(folder / "checkpoints", keep=config.keep_checkpoints, alone=True)
            files: RunFiles = stack.enter_context(checkpoints), MetricsLog(folder / "metrics.jsonl")
            return files, run.resume(*files)

        others: tuple[RunFiles | None, TrainState] = None, init_state(model, config, key)
        files, state = run.on_first(open_and_resume, others)
        return run.train(run.from_first(state), files, progress, description)
