"""The compiled programs of a sweep: members vmapped, and spread over devices."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Int, Num

from jaxunreg.compilation import TRAINING, cpu_jit
from jaxunreg.decomposition import Decomposition
from jaxunreg.images import to_float
from jaxunreg.models import apply
from jaxunreg.models.base import Model, variables_like
from jaxunreg.scoring.scorer import fold
from jaxunreg.training.config import TrainConfig
from jaxunreg.training.optimizer import Hyperparameters
from jaxunreg.training.state import StepMetrics, TrainState
from jaxunreg.training.step import run_steps, train_step
from jaxunreg.typing import AnyImages, Variables


class MemberBytes(NamedTuple):
    """Device memory of a member while training, in bytes.

    Attributes:
      weights: bytes for every member of a device: parameters, Adam's two moments, and the copy that the program makes.
      activations: bytes for every member that runs at a time: all of a device, or one if `vectorize` is off.
    """

    weights: int
    activations: int


def member_bytes(model: Model, config: TrainConfig) -> MemberBytes:
    """Estimate the device memory that a member takes while training. Each device also holds the images once.

    Weights are six times the parameters. Activations are six times the outputs of all layers for a batch: the arrays
    that the gradient keeps, its intermediate results, and the operands that the convolutions rearrange. XLA's own count
    on a CPU is near it (`python -m benchmarks.vmapped_sweep` prints both).

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
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables_like(model)["params"]))
    return MemberBytes(weights=4 * 6 * parameters, activations=4 * 6 * config.batch_size * model.layer_outputs)


def place_members(count: int, devices: Sequence[jax.Device]) -> tuple[Mesh, int]:
    """Return a mesh for so many members, and its number of slots. Each device has the same number of slots.

    It takes the smallest number of devices that finishes in the same time: of eight devices, nine members take five,
    with two slots each.

    >>> import jax
    >>> mesh, slots = place_members(9, jax.devices()[:8])
    >>> mesh.size, slots
    (5, 10)
    """
    each = -(-count // len(devices))
    mesh = Mesh(np.array(devices[: -(-count // each)]), ("members",))
    return mesh, each * mesh.size


@cpu_jit(TRAINING, static_argnums=(0, 1, 2, 3), donate_argnums=(4,))
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
    """Do several updates of all members in one program; `state` is donated.

    Args:
      model: the model of the largest latent size.
      config: the settings that the members share.
      mesh: one axis, `members`, whose size divides their number.
      vectorize: whether a device runs all its members at a time. Otherwise it does all steps of one before the next.
      state: states of the members on a leading axis, split over the mesh; the buffers are reused.
      hyper: settings of each member, `[members]`.
      images: all images, or the images of these steps; the same on each device.
      indices: rows of `images`, one batch a member and step.
      count: how many of the steps to run; see `train_steps`.

    Returns:
      The state after `count` updates, and each step's metrics `[members, steps]`, which are zero beyond `count`.
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
    # Members do not communicate: each device has its shard, and there is no collective.
    return jax.shard_map(
        own,
        mesh=mesh,
        in_specs=(members, members, everywhere, members, everywhere),
        out_specs=members,
        check_vma=False,
    )(state, hyper, images, indices, count)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def sweep_terms(
    model: Model,
    mesh: Mesh,
    vectorize: bool,
    variables: Variables,
    batches: Num[Array, "batches batch height width channels"],
) -> Decomposition:
    """Return D, A and M of every image for every member, `[members, batches, batch]`; arguments as in `sweep_steps`."""

    def own(variables: Variables, batches: Array) -> Decomposition:
        def member(variables: Variables) -> Decomposition:
            folded = fold(model, variables)
            return jax.lax.map(lambda batch: apply.terms(model, folded, to_float(batch)), batches)

        return jax.vmap(member)(variables) if vectorize else jax.lax.map(member, variables)

    members, everywhere = PartitionSpec("members"), PartitionSpec()
    return jax.shard_map(own, mesh=mesh, in_specs=(members, everywhere), out_specs=members, check_vma=False)(
        variables, batches
    )


@jax.jit
def finite_members(variables: Variables) -> Bool[Array, " members"]:
    """Return whether each member's variables are finite."""
    finite = [jnp.isfinite(leaf).reshape(len(leaf), -1).all(axis=1) for leaf in jax.tree.leaves(variables)]
    return jnp.stack(finite).all(axis=0)
