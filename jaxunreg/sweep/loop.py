"""Sweeps: many members trained at once by one compiled program, vmapped and spread over devices.

Members may differ in seed, learning rate, weight decay, weight of D, and latent size. A model with a smaller latent
space is padded to the largest: zeros stand beside its weights, and a `PaddedLatentSpace` masks what the padding would
add. So a member has the gradients, the noise and the scores of the small model trained alone, and the zeros stay zero.
A member with other shapes (base channels, depth, patch size, the kind of model) needs another program. `group_members`
sorts members into such groups.
"""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument
from jaxunreg.images import check_images
from jaxunreg.models.base import Model
from jaxunreg.paths import given_path
from jaxunreg.processor import warn_of_slow_bfloat16
from jaxunreg.sweep.members import Member, checked_members
from jaxunreg.sweep.part import PartRun
from jaxunreg.sweep.program import place_members
from jaxunreg.sweep.result import SweepResult
from jaxunreg.sweep.setup import EvaluateMember, SweepSetup
from jaxunreg.training.config import TrainConfig
from jaxunreg.training.evaluation import HeldOut
from jaxunreg.training.training_images import check_whole_images
from jaxunreg.typing import AnyImages, PyTree


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

    Up to rounding, member k is what `fit` makes of the model of its latent size, with its learning rate, weight decay
    and KL weight in the config and `key=jax.random.key(seed)`: starting weights, batches and noise are the same. (The
    noise of padded members relies on JAX's default, partitionable threefry generator. Another generator gives another
    draw.)

    The members are one axis of one compiled program, which is split over the devices. No device waits for another
    within a call, and each has a copy of the images. `member_bytes` estimates the memory that a member takes. If all
    members together take too much, `members_at_once` trains them in parts, one after another, with the same program.

    One program is for accelerators and for many devices. One member keeps a CPU device busy already, so there it is
    hardly faster than `fit` for one member after another (`python -m benchmarks.vmapped_sweep`).

    If it is started again with the same directory, it goes on from the last checkpoint, also on another number of
    devices. On the same devices, the result is the same to the bit as that of an uninterrupted run. The directory has a
    folder for each part, `part-000` and so on, with `checkpoints/` and `metrics.jsonl`. Each line of the latter is a
    step, with a list over the part's members (`null` where one has failed), or an evaluation of a member.

    Args:
      model: the model of the largest latent size.
      images: training images `[N, height, width, channels]`, uint8, or floating point in [0, 1]; all assumed normal.
        Unlike `fit`, it does not crop larger images. Crop them before with `jaxunreg.training.random_crops`.
      config: the settings that the members share; see `TrainConfig`.
      members: the settings of each.
      held_out: images that every member scores every `evaluate_every` steps, in one program, held in the device's
        memory.
      evaluate: called at the same steps with a model and variables, for one member after another that has not failed.
        They are padded to the largest latent size, and `make_scorer(model, variables)` scores exactly as the member's
        own small model does. So one compiled scoring program serves all members. The JSON data that it returns is added
        to the record.
      directory: folder for the files. Without it, nothing is written and nothing is resumed.
      devices: devices over which the members are spread; by default all of this process. It uses the smallest number of
        devices that finishes in the same time.
      members_at_once: how many members train together, at most; by default all.
      vectorize: whether a device runs all its members at a time (`jax.vmap`), which fills an accelerator. Otherwise it
        loops over them within the program. The default is the loop on a CPU, where the data of one member stay in the
        cache, and `vmap` elsewhere. On two cores, 32 members with 8 base channels at 32x32 train vectorised at two
        thirds of the loop's speed, and in seven times its memory.
      progress: show a bar with the members, the range of their losses, and the images a second of all together.
      description: the bar's title.

    Returns:
      Weights, history, evaluations and failures of the members, in the order given.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `fit`; also no members, a latent size above the model's, no
        devices, or `members_at_once` below one.
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
            "crop larger images before, with jaxunreg.training.random_crops",
            field="images",
        )
    check_whole_images(images, model.config.image_shape, config.batch_size)
    if held_out is not None:
        check_images(held_out, (None, *model.config.image_shape))
    members = checked_members(model, config, members)
    devices = jax.local_devices() if devices is None else list(devices)
    if not devices:
        raise ArgumentError("no devices", "at least one", "leave them out for all of this process", field="devices")
    if members_at_once is not None and members_at_once < 1:
        raise ArgumentError(
            argument("members_at_once", members_at_once), "at least 1", f"raise {argument('members_at_once')}"
        )
    parts = -(-len(members) // min(members_at_once or len(members), len(members)))
    size = -(-len(members) // parts)
    mesh, slots = place_members(size, devices)
    platform = mesh.devices.flat[0].platform
    warn_of_slow_bfloat16(model.arithmetic, platform)
    if vectorize is None:
        vectorize = platform != "cpu"
    shared = SweepSetup(model, images, config, members, slots, mesh, vectorize, held_out, evaluate)
    outcomes = []
    for part, first in enumerate(range(0, len(members), size)):
        last = min(first + size, len(members))
        title = description if parts == 1 else f"{description}, members {first} to {last - 1} of {len(members)}"
        folder = None if directory is None else given_path("directory", directory) / f"part-{part:03d}"
        outcomes.append(PartRun(shared, first, last).run(folder, progress, title))
    return SweepResult(
        model=shared.padded,
        members=members,
        history=_concatenated([outcome.history for outcome in outcomes]),
        evaluations=tuple(tuple(records) for outcome in outcomes for records in outcome.evaluations),
        failures={index: failure for outcome in outcomes for index, failure in outcome.failures.items()},
        stacked=_concatenated([outcome.variables for outcome in outcomes]),
    )


def _concatenated(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *trees)
