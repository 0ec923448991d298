"""One update, and several of them in one compiled program."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Num

from jaxunreg.compilation import TRAINING, cpu_jit
from jaxunreg.decomposition import Decomposition
from jaxunreg.images import to_float
from jaxunreg.models import apply
from jaxunreg.models.base import Model
from jaxunreg.training.batches import select
from jaxunreg.training.config import TrainConfig
from jaxunreg.training.optimizer import Hyperparameters, make_optimizer
from jaxunreg.training.state import StepMetrics, TrainState
from jaxunreg.typing import AnyImages, PyTree


def train_step(
    model: Model,
    config: TrainConfig,
    state: TrainState,
    images: AnyImages,
    hyper: Hyperparameters | None = None,
) -> tuple[TrainState, StepMetrics]:
    """Do one update: negative ELBO at one reparameterised sample, its gradient, Adam.

    Args:
      model: any model.
      config: see `TrainConfig`.
      state: the state before.
      images: one batch `[batch, height, width, channels]`; uint8, or floating point in [0, 1].
      hyper: scalars that replace the config's, for many members in one program; see `jaxunreg.sweep`.

    Returns:
      The state after, and the batch means of loss, D, A and M, in nats an image.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    >>> config = ju.TrainConfig(steps=1)
    >>> from jaxunreg.training import init_state
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
        variables = {**state.variables, "params": params}
        terms, updated = apply.training_terms(model, variables, images, key, train=config.batch_statistics == "batch")
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
    """Do several updates in a row, inside of a compiled program.

    Args:
      step: does the k-th update, from a state and k.
      state: the state before.
      steps: number of steps in the metrics.
      count: number of updates to do, at most `steps`.

    Returns:
      The state after `count` updates, and each step's metrics `[steps]`, which are zero beyond `count`.
    """

    def body(k: Int[Array, ""], carry: tuple[TrainState, StepMetrics]) -> tuple[TrainState, StepMetrics]:
        state, history = carry
        state, metrics = step(state, k)
        return state, jax.tree.map(lambda past, new: past.at[k].set(new), history, metrics)

    zeros = jnp.zeros(steps, jnp.float32)
    return jax.lax.fori_loop(0, count, body, (state, StepMetrics(zeros, Decomposition(zeros, zeros, zeros))))


@cpu_jit(TRAINING, static_argnums=(0, 1), donate_argnums=(2,))
def train_steps(
    model: Model,
    config: TrainConfig,
    state: TrainState,
    images: Num[Array, "..."],
    indices: Int[Array, "steps ..."],
    count: Int[Array, ""],
) -> tuple[TrainState, StepMetrics]:
    """Do several updates in one program; `state` is donated.

    Args:
      model: any model.
      config: see `TrainConfig`.
      state: the state before; its buffers are reused.
      images: all images, all their pixels, or the batches of these steps; see `jaxunreg.training.select`.
      indices: for each step the argument `indices` of `select`.
      count: how many of the steps to run, at most all. It is an argument and not a shape, so a stop between two full
        dispatches compiles nothing and rounds alike.

    Returns:
      The state after `count` updates, and each step's metrics, which are zero beyond `count`.
    """

    def step(state: TrainState, k: Int[Array, ""]) -> tuple[TrainState, StepMetrics]:
        return train_step(model, config, state, select(images, indices[k], model.config.image_shape))

    return run_steps(step, state, len(indices), count)
