"""The whole method in one file, without this package: train a VAE on normal images, and score with a part of its loss.

A VAE is trained on digits by the ordinary negative ELBO L. At test time L is taken apart (eq. 5 and 6 of the paper):

    L = D + A + M
    D = sum 1/2 (mu_z^2 + sigma_z^2 - 1 - log sigma_z^2)    KL divergence of the posterior from the prior
    A = sum 1/2 log(2 pi sigma_x^2)                         log-normalizing constant of the likelihood
    M = sum 1/2 (x - mu_x)^2 / sigma_x^2                    half squared normalized distance

L and A follow how complex an image is. M does not, and finds an erased square better.

python -m examples.vae
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

SIZE, LATENT, BATCH, SQUARE = 16, 16, 64, 5


def gathered(x: jax.Array) -> jax.Array:
    """Blocks of 2x2 pixels as channels: a dense layer after this is a 2x2 convolution of stride 2."""
    n, height, width, channels = x.shape
    blocks = x.reshape(n, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, height // 2, width // 2, 4 * channels)


def spread(x: jax.Array) -> jax.Array:
    """The inverse of `gathered`."""
    n, height, width, channels = x.shape
    blocks = x.reshape(n, height, width, 2, 2, channels // 4).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, 2 * height, 2 * width, channels // 4)


class Encoder(nn.Module):
    """Images to mean and log-variance of the posterior of z."""

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, ...]:
        for channels in (32, 64):
            x = nn.relu(nn.Dense(channels)(gathered(x)))
        return tuple(jnp.split(nn.Dense(2 * LATENT)(x.reshape(len(x), -1)), 2, axis=1))


class Decoder(nn.Module):
    """z to mean and log-variance of every pixel. The log-variance is what makes M and A differ from image to image."""

    @nn.compact
    def __call__(self, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = nn.relu(nn.Dense(SIZE * SIZE * 4)(z)).reshape(-1, SIZE // 4, SIZE // 4, 64)
        x = spread(nn.Dense(8)(spread(nn.relu(nn.Dense(128)(x)))))
        mean, log_var = jnp.split(x, 2, axis=3)
        return nn.sigmoid(mean), -3.0 + 4.0 * jnp.tanh(log_var / 4.0)  # softly kept in [-7, 1]


class VAE(nn.Module):
    """Both, from one pass."""

    def setup(self) -> None:
        self.encoder, self.decoder = Encoder(), Decoder()

    def __call__(self, x: jax.Array, noise: jax.Array) -> tuple[jax.Array, ...]:
        z_mean, z_log_var = self.encoder(x)
        return *self.decoder(z_mean + noise * jnp.exp(0.5 * z_log_var)), z_mean, z_log_var


class Terms(NamedTuple):  # of each image, in nats
    d: jax.Array
    a: jax.Array
    m: jax.Array


def decompose(params: Any, x: jax.Array, noise: jax.Array) -> Terms:
    """The terms of images `[n, SIZE, SIZE, 1]`. At test time the noise is zero, so that z is the posterior mean."""
    x_mean, x_log_var, z_mean, z_log_var = VAE().apply(params, x, noise)
    pixels = (1, 2, 3)
    return Terms(
        d=0.5 * jnp.sum(z_mean**2 + jnp.exp(z_log_var) - 1.0 - z_log_var, axis=1),
        a=0.5 * jnp.sum(jnp.log(2.0 * jnp.pi) + x_log_var, axis=pixels),
        m=0.5 * jnp.sum((x - x_mean) ** 2 * jnp.exp(-x_log_var), axis=pixels),
    )


def photograph(shapes: jax.Array, key: jax.Array) -> jax.Array:
    """Digits `[n, 8, 8]` at twice the size, each with a brightness, a contrast and a texture of its own."""
    keys = jax.random.split(key, 4)
    low, high, texture = (
        jax.random.uniform(k, (len(shapes), 1, 1), jnp.float32, *ends)
        for k, ends in zip(keys[:3], ((0.1, 0.4), (0.5, 0.9), (0.01, 0.15)), strict=True)
    )
    large = jnp.repeat(jnp.repeat(shapes, 2, axis=1), 2, axis=2)
    images = low + (high - low) * large + texture * jax.random.normal(keys[3], large.shape)
    return jnp.clip(images, 0.0, 1.0)[..., None]


def train(shapes: jax.Array, steps: int, key: jax.Array) -> Any:
    """Minimise the mean negative ELBO by Adam, on new photographs of the digits at every step."""
    key, init_key = jax.random.split(key)
    params = VAE().init(init_key, jnp.zeros((1, SIZE, SIZE, 1)), jnp.zeros((1, LATENT)))
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, steps))

    @jax.jit
    def step(params: Any, state: Any, key: jax.Array) -> tuple:
        choice, light, noise = jax.random.split(key, 3)
        images = photograph(shapes[jax.random.randint(choice, (BATCH,), 0, len(shapes))], light)
        noise = jax.random.normal(noise, (BATCH, LATENT))
        value, gradient = jax.value_and_grad(lambda p: jnp.mean(sum(decompose(p, images, noise))))(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    state = optimizer.init(params)
    for step_key in jax.random.split(key, steps):
        params, state, value = step(params, state, step_key)
    print(f"negative ELBO after {steps} steps: {float(value):.1f} nats")
    return params


def erased(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """The images with a square of a random gray at a random place."""
    rng, images = np.random.default_rng(seed), images.copy()
    for image in images:
        row, column = rng.integers(0, SIZE - SQUARE + 1, 2)
        image[row : row + SQUARE, column : column + SQUARE] = rng.uniform()
    return images


def main(steps: int = 2000) -> dict[str, float]:
    """Train, score normal and erased digits, and return the ROC AUC of each score."""
    shapes = jnp.asarray(load_digits().images / 16.0, jnp.float32)
    params = train(shapes[:1400], steps, jax.random.key(0))
    normal = np.asarray(photograph(shapes[1400:], jax.random.key(1)))
    both = np.concatenate([normal, erased(normal)])
    terms = jax.jit(decompose)(params, jnp.asarray(both), jnp.zeros((len(both), LATENT)))
    is_erased = np.arange(len(both)) >= len(normal)
    scores = {"L": sum(terms), "D": terms.d, "A": terms.a, "M": terms.m}
    auc = {name: float(roc_auc_score(is_erased, np.asarray(score))) for name, score in scores.items()}
    print("ROC AUC: " + ", ".join(f"{name} {value:.3f}" for name, value in auc.items()))
    return auc


if __name__ == "__main__":
    main()
