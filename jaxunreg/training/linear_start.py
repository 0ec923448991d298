"""Weights with which training starts as the best linear model that the network can express.

A linear VAE has its optimum in closed form: probabilistic PCA (Tipping and Bishop, 1999; Lucas et al., 2019). From
random weights the paper's network needs tens of thousands of steps to get as far. But it holds a linear autoencoder
already:

- the 2x2 taps in the middle of a 4x4 kernel of stride 2 cut an image into blocks without overlap, so that each layer of
  the encoder can be a PCA of the blocks of 2x2 below it, and the decoder's layers the way back;
- batch normalisation can lift a channel until ReLU is the identity on all that occurs;
- the fully connected layers then are a PCA of the deepest map.

A quarter of each layer's channels is left out of this and starts as random features, rectified where they are
normalised, so that they tell how large what passes through them is. On those of the last hidden layers `log sigma_z^2`
and `log sigma_x^2` are regressed, since how much of an image is missed depends on the image; with one sigma for all, M
would be the residual of a PCA. The last channel of each hidden layer of the decoder is one constant, which carries the
means.

The linear channels have no use for batch statistics, and are harmed by their noise: train with
`TrainConfig(start="linear", batch_statistics="fixed")`.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from jaxunreg.compilation import jit_once
from jaxunreg.images import check_images, to_float
from jaxunreg.models.autoencoder import Autoencoder
from jaxunreg.models.base import init_variables
from jaxunreg.models.vae import VAE, VAEConfig
from jaxunreg.nn.config import NetworkConfig
from jaxunreg.nn.soft_clip import inverse_soft_clip
from jaxunreg.padding import filled
from jaxunreg.typing import AnyImages, PRNGKey, Variables

PIXELS = 2**25
"""How many pixel values of the training images are looked at; more do not change the leading components much."""

# Share of the channels that start as random features.
_SPARE = 0.25

# Of the random features' outputs on the random features above, relative to that of the linear channels.
_SPARE_GAIN = 3.0

# How far beyond the lowest value seen a linear channel is lifted.
_MARGIN = 1.05

# The mean of a rectified standard normal variable.
_RECTIFIED_MEAN = 0.4

# Of the gamma regression of log sigma_x^2.
_ROWS, _NEWTON_STEPS, _RIDGE = 100_000, 20, 1e-3

# Biases of the random features of the last hidden layers: from zero to this many of their standard deviations below.
_THRESHOLD = 1.0

_MIDDLE = slice(1, 3)


class _Level(NamedTuple):
    """One linear layer of the encoder: `features = (blocks - mean) @ basis`."""

    mean: np.ndarray  # [4 c_in]
    basis: np.ndarray  # [4 c_in, k], orthonormal columns
    features: np.ndarray  # [n, height, width, k]


class _Lift(NamedTuple):
    """How a map of linear features stands in a network's activations: `gain * (features + offset)`."""

    gain: float
    offset: np.ndarray  # [k]

    @property
    def constant(self) -> np.ndarray:
        return self.gain * self.offset


def linear_start(model: VAE | Autoencoder, images: AnyImages, key: PRNGKey) -> Variables:
    """Variables of a model that reconstructs by a PCA, with running averages to match.

    The posterior of a latent variable of eigenvalue lambda (of the second moments) is that of probabilistic PCA,
    `N(sqrt(lambda - s^2) / lambda v.x, s^2 / lambda)` with `s^2` the residual variance of a pixel.

    Args:
      model: a `VAE` or an `Autoencoder`.
      images: training images `[N, height, width, channels]` of the model's size; uint8, or floating point in [0, 1].
        Of more than `PIXELS` values in all, images at even distances are looked at.
      key: PRNG key of the random features.

    Returns:
      `{"params": ..., "batch_stats": ...}` as `model.init` makes them. Latent dimensions beyond what the linear
      channels carry start without meaning, with a weight of a hundredth in the decoder.

    Raises:
      TypeError, ValueError: images of another shape, dtype or range than the model's, or fewer than two; a network
        with one base channel.

    >>> import jax, jax.numpy as jnp, jaxunreg as ju
    >>> model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=8, latent_dim=2))
    >>> codes = jax.random.uniform(jax.random.key(1), (500, 2)) - 0.5  # images of two dimensions
    >>> images = 0.5 + jnp.einsum("nz,zhwc->nhwc", codes, jax.random.uniform(jax.random.key(2), (2, 8, 8, 1)) - 0.5)
    >>> variables = linear_start(model, images, jax.random.key(0))
    >>> error = ju.reconstruct_images(ju.make_scorer(model, variables), images) - images
    >>> bool(jnp.std(error) < 0.5 * jnp.std(images))  # but for what the blocks do not hold
    True
    """
    config = model.config
    check_images(images, (None, *config.image_shape))
    if len(images) < 2:
        raise ValueError(f"got {len(images)} image; expected at least 2 to take a PCA of")
    if config.base_channels < 2:
        raise ValueError(f"got base_channels={config.base_channels}; expected at least 2 for a linear start")
    count = min(len(images), max(2, PIXELS // int(np.prod(config.image_shape))))
    chosen = np.linspace(0, len(images) - 1, count).astype(int)
    # In no order: of files that are sorted by kind, or crops by image, the first would not stand for all below.
    x = np.asarray(to_float(images[np.random.default_rng(0).permutation(chosen)]))
    variables = jax.tree.map(np.array, init_variables(model, key))
    params, stats = variables["params"], variables["batch_stats"]

    levels: list[_Level] = []
    for layer in range(config.depth):
        below = levels[-1].features if levels else x
        levels.append(_block_pca(below, _linear_channels(config.base_channels * 2**layer)))
    flat = levels[-1].features.reshape(len(x), -1)
    used = min(config.latent_dim, flat.shape[1], len(x) - 1)
    eigenvalues, vectors = _leading(flat.T @ flat / len(x), used)
    codes = flat @ vectors
    missed = np.mean(np.square(x - _reconstruct(levels, codes @ vectors.T)), axis=(1, 2, 3))
    # Of a typical image, as sigma_x will depend on the image. The residual has lost the latent dimensions' own noise.
    noise = float(np.exp(np.mean(np.log(missed + 1e-12)))) * x[0].size / max(x[0].size - used, 1)
    eigenvalues = np.maximum(eigenvalues, 1e-12)
    spread = np.sqrt(np.maximum(eigenvalues - (noise if isinstance(model, VAE) else 0.0), 1e-6 * eigenvalues))

    lift = _write_encoder(params["encoder"], stats["encoder"], config, levels, x)
    _write_posterior(params["encoder"]["Dense_0"], model, vectors * spread / eigenvalues, noise / eigenvalues, lift)
    mean = codes * (spread / eigenvalues) @ (vectors * spread).T
    _write_decoder(params["decoder"], stats["decoder"], config, levels, (vectors * spread).T, mean)
    _measure_random_features(model, variables, x, key)
    if isinstance(model, VAE):
        _regress_posterior_variance(model, variables, x, missed, noise, used)
        _regress_log_variance(model, variables, x, key)
    return jax.tree.map(jnp.asarray, variables)


def _linear_channels(channels: int) -> int:
    return max(1, channels - max(1, round(_SPARE * channels)))


def _blocks(x: np.ndarray) -> np.ndarray:
    """`[n, 2h, 2w, c]` to `[n h w, 4 c]`, in the order of the taps in the middle of a kernel."""
    n, height, width, c = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 4 * c)


def _unblocks(blocks: np.ndarray, n: int, height: int, width: int) -> np.ndarray:
    """The way back: `[n h w, 4 c]` to `[n, 2h, 2w, c]`."""
    c = blocks.shape[1] // 4
    return blocks.reshape(n, height, width, 2, 2, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, 2 * height, 2 * width, c)


def _leading(moments: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues, falling, and their vectors as columns."""
    size = len(moments)
    values, vectors = scipy.linalg.eigh(moments.astype(np.float64), subset_by_index=(size - count, size - 1))
    return values[::-1].astype(np.float32), np.ascontiguousarray(vectors[:, ::-1].astype(np.float32))


def _block_pca(x: np.ndarray, channels: int) -> _Level:
    n, height, width, _ = x.shape
    blocks = _blocks(x)
    mean = blocks.mean(0)
    centred = blocks - mean
    _, basis = _leading(centred.T @ centred / len(centred), min(channels, blocks.shape[1]))
    return _Level(mean, basis, (centred @ basis).reshape(n, height // 2, width // 2, -1))


def _above(level: _Level, features: np.ndarray) -> np.ndarray:
    """What a level's features stand for on the map above it, twice as high and wide."""
    n, height, width, k = features.shape
    return _unblocks(features.reshape(-1, k) @ level.basis.T + level.mean, n, height, width)


def _reconstruct(levels: list[_Level], flat: np.ndarray) -> np.ndarray:
    return functools.reduce(
        lambda features, level: _above(level, features), reversed(levels), flat.reshape(levels[-1].features.shape)
    )


def _normalize(params: Any, stats: Any, config: NetworkConfig, features: np.ndarray, mean: Any) -> _Lift:
    """Write the batch normalisation of linear channels: their own scale, and lifted until ReLU is open."""
    k = features.shape[-1]
    spread = np.maximum(features.std(axis=(0, 1, 2)), 1e-6)
    lift = _Lift(float(1.0 / np.sqrt(np.mean(np.square(spread)))), -_MARGIN * features.min(axis=(0, 1, 2)))
    stats["mean"][:k], stats["var"][:k] = mean, np.square(spread)
    params["scale"][:k] = lift.gain * np.sqrt(np.square(spread) + config.batch_norm_epsilon)
    params["bias"][:k] = lift.constant
    return lift


def _random_taps(kernel: np.ndarray, features: np.ndarray, lift: _Lift | None, channels: slice) -> np.ndarray:
    """Leave of the kernel to random features the taps in the middle, where no border shows, and give each linear
    channel below the same share in them. Returns what the lift of those adds, `[2, 2, outputs]`."""
    middle = kernel[_MIDDLE, _MIDDLE, :, channels].copy()
    kernel[..., channels] = 0.0
    k = features.shape[-1]
    gain = 1.0 if lift is None else lift.gain
    middle[:, :, :k] /= np.maximum(gain * features.std(axis=(0, 1, 2)), 1e-6).reshape(-1, 1)
    kernel[_MIDDLE, _MIDDLE, :, channels] = middle
    constant = np.zeros(k, np.float32) if lift is None else lift.constant
    return np.einsum("uvko,k->uvo", middle[:, :, :k], constant)


def _thresholds(count: int) -> np.ndarray:
    """Biases of random features. They make of what grows with the size of something any concave function of that size,
    such as the logarithm that is regressed on them."""
    return -np.linspace(0.0, _THRESHOLD, count)


def _write_encoder(params: Any, stats: Any, config: NetworkConfig, levels: list[_Level], x: np.ndarray) -> _Lift:
    lift: _Lift | None = None
    below = x
    for layer, level in enumerate(levels):
        name = f"Convolution_{layer}"
        kernel = params[name]["kernel"]
        k_in, k = below.shape[-1], level.features.shape[-1]
        _random_taps(kernel, below, lift, slice(k, None))
        kernel[..., :k] = 0.0
        taps = level.basis.reshape(2, 2, k_in, k)
        kernel[_MIDDLE, _MIDDLE, :k_in, :k] = taps / (1.0 if lift is None else lift.gain)
        mean = level.mean @ level.basis
        if lift is not None:
            mean = mean + np.einsum("uvio,i->o", taps, lift.offset)
        lift = _normalize(params[name], stats[name], config, level.features, mean)
        if layer == len(levels) - 1:
            params[name]["bias"][k:] = _thresholds(config.base_channels * 2**layer - k)
        below = level.features
    assert lift is not None
    return lift


def _write_posterior(
    dense: Any, model: VAE | Autoencoder, matrix: np.ndarray, variances: np.ndarray, lift: _Lift
) -> None:
    """Mean `matrix` times the deepest features, and the variances of probabilistic PCA."""
    height, width, channels = model.config.bottom_shape
    used, k = matrix.shape[1], len(lift.offset)
    kernel = np.zeros((height, width, channels, dense["kernel"].shape[1]), np.float32)
    taps = matrix.reshape(height, width, k, used) / lift.gain
    # Dimensions without a component keep random weights on the random features.
    kernel[:, :, k:, used : model.config.latent_dim] = dense["kernel"].reshape(kernel.shape)[
        :, :, k:, used : model.config.latent_dim
    ]
    kernel[:, :, :k, :used] = taps
    dense["kernel"][...] = kernel.reshape(dense["kernel"].shape)
    dense["bias"][:used] = -np.einsum("hwkz,k->z", taps, lift.constant)
    if isinstance(model, VAE):
        config = model.config
        log_var = np.zeros(config.latent_dim, np.float32)
        log_var[:used] = np.log(variances)
        raw = inverse_soft_clip(log_var, config.z_log_var_min, config.z_log_var_max)
        dense["bias"][config.latent_dim :] = raw - config.z_log_var_init


def _write_decoder(
    params: Any,
    stats: Any,
    config: NetworkConfig,
    levels: list[_Level],
    matrix: np.ndarray,
    mean: np.ndarray,
) -> None:
    height, width, channels = config.bottom_shape
    used = len(matrix)
    features = mean.reshape(len(mean), height, width, -1)
    k = features.shape[-1]
    kernel = params["Dense_0"]["kernel"].reshape(config.latent_dim, height, width, channels)
    kernel[:used, :, :, :k] = matrix.reshape(used, height, width, k)
    kernel[used:] *= 0.01 * np.abs(matrix[-1]).max()
    layer_params, layer_stats = params["Dense_0"], stats["Dense_0"]
    for i, level in enumerate(reversed(levels)):
        lift = _normalize(layer_params, layer_stats, config, features, 0.0)
        layer_params["scale"][-1], layer_params["bias"][-1] = 0.0, 1.0
        name = f"Convolution_{i}"
        kernel = params[name]["kernel"]
        last = i == len(levels) - 1
        k_out = config.image_shape[-1] if last else levels[-2 - i].features.shape[-1]
        if last:
            kernel[...] = 0.0
        else:
            # A transposed layer's start is scaled for 2x2 taps that reach an output, of which here is one.
            kernel[:, :, :, k_out:] *= 2.0
            kernel[:, :, k:-1, k_out:] *= _SPARE_GAIN
            constant = _random_taps(kernel, features, lift, slice(k_out, None))
            random = kernel[_MIDDLE, _MIDDLE, k:-1, k_out:].sum(2)
            kernel[_MIDDLE, _MIDDLE, -1, k_out:] = -constant - _RECTIFIED_MEAN * random
            kernel[..., :k_out] = 0.0
            if i == len(levels) - 2:
                params[name]["bias"][k_out:-1] = _thresholds(len(params[name]["bias"]) - k_out - 1)
        taps = level.basis.T.reshape(k, 2, 2, k_out).transpose(1, 2, 0, 3)
        kernel[_MIDDLE, _MIDDLE, :k, :k_out] = taps / lift.gain
        constant = np.einsum("uvko,k->uvo", taps, lift.offset)
        kernel[_MIDDLE, _MIDDLE, -1, :k_out] = level.mean.reshape(2, 2, k_out) - constant
        features, k = _above(level, features), k_out
        if last:
            # The model adds mid-gray.
            params[name]["bias"][:k_out] = -0.5
        else:
            layer_params, layer_stats = params[name], stats[name]


def _measure_random_features(model: Any, variables: Variables, x: np.ndarray, key: PRNGKey) -> None:
    """Write the running averages of the random features, which one pass in training finds."""
    config = model.config
    # With this the new average is the batch's.
    measuring = type(model)(dataclasses.replace(config, batch_norm_momentum=0.0))
    few = jnp.asarray(x[: _batch(config, 2**21)])
    found = _batch_averages(measuring, jax.tree.map(jnp.asarray, variables), few, key)
    for part, layers in variables["batch_stats"].items():
        for layer, stats in layers.items():
            k = _linear_count(config, part, layer)
            for name, values in stats.items():
                values[k:] = np.asarray(found[part][layer][name])[k:]


def _linear_count(config: NetworkConfig, part: str, layer: str) -> int:
    """How many channels of a layer are linear."""
    depth = config.depth
    counts, k = [], config.image_shape[-1]
    for level in range(depth):
        k = min(_linear_channels(config.base_channels * 2**level), 4 * k)
        counts.append(k)
    number = int(layer.rpartition("_")[2])
    if layer.startswith("Dense"):
        return counts[-1]
    return counts[number] if part == "encoder" else counts[depth - 2 - number]


def _last_hidden(part: str, config: NetworkConfig) -> str:
    """The layer before the last of the encoder or the decoder."""
    if part == "encoder":
        return f"Convolution_{config.depth - 1}"
    return "Dense_0" if config.depth == 1 else f"Convolution_{config.depth - 2}"


# The programs. The model is an argument, so that the next start of an equal one compiles nothing.
@jit_once
def _batch_averages(model: VAE | Autoencoder, variables: Variables, images: jax.Array, key: PRNGKey) -> Any:
    """The running averages after a pass in training."""
    _, updated = model.apply(variables, images, key, method="training_terms", mutable=["batch_stats"])
    return updated["batch_stats"]


@functools.partial(jax.jit, static_argnums=0)
def _encoded(model: VAE, variables: Variables, images: jax.Array) -> jax.Array:
    """What the encoder's last hidden layer returns."""
    return _kept(model, variables, "encoder", images)[1]


@functools.partial(jax.jit, static_argnums=0)
def _decoded(model: VAE, variables: Variables, images: jax.Array, key: PRNGKey) -> tuple[jax.Array, jax.Array]:
    """What the decoder's last hidden layer returns for samples of the posterior, and the squared errors."""
    posterior = model.apply(variables, images, method="encode")
    noise = jax.random.normal(key, posterior.mean.shape, posterior.mean.dtype)
    z = posterior.mean + jnp.exp(0.5 * posterior.log_var) * noise
    likelihood, hidden = _kept(model, variables, "decoder", z)
    return hidden, jnp.square(images - likelihood.mean)


def _kept(model: VAE, variables: Variables, part: str, x: jax.Array) -> tuple[Any, jax.Array]:
    """What the encoder or the decoder returns, and what its last hidden layer does."""
    name = _last_hidden(part, model.config)
    returned, kept = model.apply(
        variables,
        x,
        method={"encoder": "encode", "decoder": "decode"}[part],
        capture_intermediates=lambda module, _: module.name == name,
        mutable=["intermediates"],
    )
    return returned, kept["intermediates"][part][name]["__call__"][0]


def _parts(x: np.ndarray, size: int) -> Iterator[tuple[jax.Array, int]]:
    """The images in parts of one size, and how many of each are not padding."""
    for first in range(0, len(x), size):
        part = x[first : first + size]
        yield jnp.asarray(filled(part, size)), len(part)


def _batch(config: NetworkConfig, values: int) -> int:
    height, width, _ = config.image_shape
    return max(2, values // (height * width))


def _regress_posterior_variance(
    model: VAE, variables: Variables, x: np.ndarray, missed: np.ndarray, noise: float, used: int
) -> None:
    """Let `log sigma_z^2` of all components follow the image: what is missed of it, by its random features."""
    config: VAEConfig = model.config
    placed = jax.tree.map(jnp.asarray, variables)
    size = _batch(config, 2**19)
    k = _linear_count(config, "encoder", _last_hidden("encoder", config))
    random = np.concatenate([np.asarray(_encoded(model, placed, part))[:n, ..., k:] for part, n in _parts(x, size)])
    weights, intercept = _gamma_regression(random.reshape(len(x), -1), missed.reshape(-1, 1))
    dense = variables["params"]["encoder"]["Dense_0"]
    height, width, channels = config.bottom_shape
    kernel = dense["kernel"].reshape(height, width, channels, -1)
    of_components = slice(config.latent_dim, config.latent_dim + used)
    kernel[:, :, k:, of_components] = weights.reshape(height, width, -1, 1)
    dense["bias"][of_components] += intercept[0] - np.log(noise)


def _regress_log_variance(model: VAE, variables: Variables, x: np.ndarray, key: PRNGKey) -> None:
    """Write the last layer's weights to `log sigma_x^2`, by a gamma regression of the squared errors on the last hidden
    layer, with a logarithmic link: what minimises the mean of A + M is a generalised linear model, and convex."""
    config: VAEConfig = model.config
    channels, depth = config.image_shape[-1], config.depth
    placed = jax.tree.map(jnp.asarray, variables)
    few = x[: _batch(config, 2**22)]
    size = _batch(config, 2**19)
    found = [
        [np.asarray(values)[:n] for values in _decoded(model, placed, part, jax.random.fold_in(key, index * size))]
        for index, (part, n) in enumerate(_parts(few, size))
    ]
    hidden, squared = (np.concatenate(values) for values in zip(*found, strict=True))
    n, height, width, count = hidden.shape
    padded = np.pad(hidden, ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel = variables["params"]["decoder"][f"Convolution_{depth - 1}"]["kernel"]
    # An even output sees its own input by tap 1 and the one before by tap 3; an odd one by 2, and the one after by 0.
    seen = {0: ((1, 0), (3, -1)), 1: ((2, 0), (0, 1))}
    # At random: at even distances they could be a few columns.
    keep = np.random.default_rng(0).permutation(n * height * width)[:_ROWS]
    for row in (0, 1):
        for column in (0, 1):
            taps = [(u, v, i, j) for u, i in seen[row] for v, j in seen[column]]
            shifted = [padded[:, 1 + i : 1 + i + height, 1 + j : 1 + j + width] for _, _, i, j in taps]
            rows = np.concatenate([part.reshape(-1, count)[keep] for part in shifted], axis=1)
            weights, intercept = _gamma_regression(rows, squared[:, row::2, column::2].reshape(-1, channels)[keep])
            for (u, v, _, _), part in zip(taps, np.split(weights, 4), strict=True):
                kernel[u, v, :, channels:] = part
            # By the tap that never leaves the map, on the constant channel.
            kernel[taps[0][0], taps[0][1], -1, channels:] += intercept
    variables["params"]["decoder"][f"Convolution_{depth - 1}"]["bias"][channels:] = -config.x_log_var_init


def _gamma_regression(rows: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights and intercept of `log E[target]` for each column of the targets."""
    # Here, as it takes a second to import.
    from sklearn.linear_model import GammaRegressor
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(rows)
    # A channel that never varies is of no use, and rounding must not make it one.
    scale = np.where(scaler.var_ > 1e-10, scaler.scale_, np.inf)
    design = (rows - scaler.mean_) / scale
    weights, intercepts = [], []
    for target in np.maximum(targets, 1e-12).astype(np.float64).T:
        # In units of the mean, where the solver's starting point is the constant model.
        found = GammaRegressor(alpha=_RIDGE, solver="newton-cholesky", max_iter=_NEWTON_STEPS).fit(
            design, target / target.mean()
        )
        weights.append(found.coef_ / scale)
        intercepts.append(found.intercept_ + np.log(target.mean()) - weights[-1] @ scaler.mean_)
    return np.stack(weights, axis=1).astype(np.float32), np.array(intercepts, np.float32)
