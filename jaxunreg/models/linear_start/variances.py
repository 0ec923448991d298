"""The variances of the posterior and of the pixels in the linear start of a VAE. They depend on the image."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxunreg.models.linear_start.gamma_regression import gamma_regression
from jaxunreg.models.linear_start.random_features import images_within, last_hidden, linear_count
from jaxunreg.models.network_model import NetworkModel
from jaxunreg.models.vae_config import VAEConfig
from jaxunreg.nn.soft_clip import inverse_soft_clip
from jaxunreg.padding import filled
from jaxunreg.typing import PRNGKey, Variables

# Number of rows in the regression of log sigma_x^2.
_ROWS = 100_000


def write_posterior_variance(dense: Any, config: VAEConfig, variances: np.ndarray) -> None:
    """Write a constant `sigma_z^2` for each of the first latent dimensions, and 1 for the others."""
    log_var = np.zeros(config.latent_dim, np.float32)
    log_var[: len(variances)] = np.log(variances)
    raw = inverse_soft_clip(log_var, config.z_log_var_min, config.z_log_var_max)
    dense["bias"][config.latent_dim :] = raw - config.z_log_var_init


def regress_posterior_variance(
    model: NetworkModel, variables: Variables, x: np.ndarray, missed: np.ndarray, noise: float, used: int
) -> None:
    """Let `log sigma_z^2` of all components depend on the image: its random features predict the residual."""
    config = model.config
    k = linear_count(config, "encoder", last_hidden("encoder", config))
    random = encoded(model, variables, x)[..., k:]
    weights, intercept = gamma_regression(random.reshape(len(x), -1), missed.reshape(-1, 1))
    dense = variables["params"]["encoder"]["Dense_0"]
    height, width, channels = config.bottom_shape
    kernel = dense["kernel"].reshape(height, width, channels, -1)
    of_components = slice(config.latent_dim, config.latent_dim + used)
    kernel[:, :, k:, of_components] = weights.reshape(height, width, -1, 1)
    dense["bias"][of_components] += intercept[0] - np.log(noise)


def encoded(model: NetworkModel, variables: Variables, x: np.ndarray) -> np.ndarray:
    """Return the encoder's deepest map of each image, `[n, height, width, channels]`."""
    placed = jax.tree.map(jnp.asarray, variables)
    size = images_within(model.config, 2**19)
    return np.concatenate([np.asarray(_encoded(model, placed, part))[:n] for part, n in _parts(x, size)])


def regress_log_variance(
    model: NetworkModel, variables: Variables, x: np.ndarray, key: PRNGKey, *, level: list[int] | None = None
) -> None:
    """Write the last layer's weights to `log sigma_x^2`, by a gamma regression on the last hidden layer.

    It regresses the squared errors with a logarithmic link. Minimising the mean of A + M is a generalised linear model,
    and convex.

    Args:
      model: the model.
      variables: NumPy arrays; this function writes to them.
      x: the images.
      key: PRNG key of the samples of the posterior.
      level: the hidden channels of the level, if there is one. Then sigma follows them alone. The other channels see an
        anomaly and would hide it from M.
    """
    config: Any = model.config
    channels, depth = config.image_shape[-1], config.depth
    placed = jax.tree.map(jnp.asarray, variables)
    few = x[: images_within(config, 2**22)]
    size = images_within(config, 2**19)
    found = [
        [np.asarray(values)[:n] for values in _decoded(model, placed, part, jax.random.fold_in(key, index * size))]
        for index, (part, n) in enumerate(_parts(few, size))
    ]
    hidden, squared = (np.concatenate(values) for values in zip(*found, strict=True))
    n, height, width, count = hidden.shape
    padded = np.pad(hidden, ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel = variables["params"]["decoder"][f"Convolution_{depth - 1}"]["kernel"]
    # An even output sees its own input by tap 1 and the one before by tap 3. An odd one sees its own by tap 2 and the
    # one after by tap 0.
    seen = {0: ((1, 0), (3, -1)), 1: ((2, 0), (0, 1))}
    # At random: evenly spaced rows could all come from a few columns.
    keep = np.random.default_rng(0).permutation(n * height * width)[:_ROWS]
    # Of the channels of the four taps, one after the other. The level is the same everywhere, so the first tap, which
    # never leaves the map, is enough.
    used = np.arange(4 * count) if level is None else np.array(level)
    for row in (0, 1):
        for column in (0, 1):
            taps = [(u, v, i, j) for u, i in seen[row] for v, j in seen[column]]
            shifted = [padded[:, 1 + i : 1 + i + height, 1 + j : 1 + j + width] for _, _, i, j in taps]
            rows = np.concatenate([part.reshape(-1, count)[keep] for part in shifted], axis=1)
            targets = squared[:, row::2, column::2].reshape(-1, channels)[keep]
            weights = np.zeros((rows.shape[1], channels), np.float32)
            weights[used], intercept = gamma_regression(rows[:, used], targets)
            for (u, v, _, _), part in zip(taps, np.split(weights, 4), strict=True):
                kernel[u, v, :, channels:] = part
            # On the constant channel, by the tap that never leaves the map.
            kernel[taps[0][0], taps[0][1], -1, channels:] += intercept
    variables["params"]["decoder"][f"Convolution_{depth - 1}"]["bias"][channels:] = -config.x_log_var_init


@functools.partial(jax.jit, static_argnums=0)
def _encoded(model: NetworkModel, variables: Variables, images: jax.Array) -> jax.Array:
    """Return the output of the encoder's last hidden layer."""
    return _kept(model, variables, "encoder", images)[1]


@functools.partial(jax.jit, static_argnums=0)
def _decoded(model: NetworkModel, variables: Variables, images: jax.Array, key: PRNGKey) -> tuple[jax.Array, jax.Array]:
    """Return the output of the decoder's last hidden layer for samples of the posterior, and the squared errors."""
    posterior = model.apply(variables, images, method=model.encode)
    noise = jax.random.normal(key, posterior.mean.shape, posterior.mean.dtype)
    z = posterior.mean + jnp.exp(0.5 * posterior.log_var) * noise
    likelihood, hidden = _kept(model, variables, "decoder", z)
    return hidden, jnp.square(images - likelihood.mean)


def _kept(model: NetworkModel, variables: Variables, part: str, x: jax.Array) -> tuple[Any, jax.Array]:
    """Return the output of the encoder or the decoder, and the output of its last hidden layer."""
    name = last_hidden(part, model.config)
    returned, kept = model.apply(
        variables,
        x,
        method={"encoder": model.encode, "decoder": model.decode}[part],
        capture_intermediates=lambda module, _: module.name == name,
        mutable=["intermediates"],
    )
    return returned, kept["intermediates"][part][name]["__call__"][0]


def _parts(x: np.ndarray, size: int) -> Iterator[tuple[jax.Array, int]]:
    """Yield the images in parts of one size, and how many of each are not padding."""
    for first in range(0, len(x), size):
        part = x[first : first + size]
        yield jnp.asarray(filled(part, size)), len(part)
