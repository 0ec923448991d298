"""A sigma that depends on the image: each place's log-variance is linear in the latent variables and their squares."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int64

from jaxunreg.features.map_vae import log_variance_of, standardised

# The penalty of the ridge regression, relative to the mean squared length of its inputs.
_STRENGTHS = (2.0, 8.0, 32.0, 128.0)


class Sigma(NamedTuple):
    """The coefficients of `log sigma^2`; see `MapVAE.log_variance`.

    Attributes:
      weights: weights for each place; zeros if a sigma of one is as good.
      gain: decrease of the nats of held-out images, in nats a place; 0 with a sigma of one.
    """

    weights: Float64[np.ndarray, "weights rows columns"]
    gain: float


def fit_sigma(
    latent: Float64[np.ndarray, "images latent_dim"],
    signal: Float64[np.ndarray, " latent_dim"],
    energies: Float64[np.ndarray, "images rows columns"],
    features: int,
    *,
    folds: Int64[np.ndarray, " images"],
) -> Sigma:
    """Learn by ridge regression the size of each place's residual from an image's latent variables.

    Args:
      latent: `W y` of images that no other fit used, in units of the noise.
      signal: `v`.
      energies: the squared length of each place's residual after the components.
      features: number of features of a place.
      folds: number of the turn in which each image is judged by estimates from the others.

    Returns:
      The weights with the lowest nats in turns; zeros if none is clearly better than a sigma of one.
    """
    inputs = np.asarray(jax.vmap(standardised, in_axes=(0, None))(jnp.asarray(latent), jnp.asarray(signal)), np.float64)
    flat = energies.reshape(len(energies), -1)
    targets = np.log(np.maximum(flat, 1e-12) / features)
    best = Sigma(np.zeros((inputs.shape[1], *energies.shape[1:])), 0.0)
    for strength in _STRENGTHS:
        predicted = np.zeros_like(flat)
        for fold in range(int(folds.max()) + 1):
            weights = _ridge(inputs[folds != fold], targets[folds != fold], strength)
            predicted[folds == fold] = log_variance_of(jnp.asarray(inputs[folds == fold]), jnp.asarray(weights))
        # The mean of a logarithm is below the logarithm of the mean. A constant corrects this.
        level = np.log(np.mean(flat * np.exp(-predicted)) / features)
        nats = 0.5 * (features * (predicted + level) + flat * np.exp(-predicted - level))
        gains = np.mean(0.5 * flat - nats, axis=1)
        # The gain must be two standard errors above zero. Otherwise it may be chance, and is not kept.
        if gains.mean() > max(best.gain, 2.0 * gains.std(ddof=1) / np.sqrt(len(gains))):
            weights = _ridge(inputs, targets, strength)
            weights[0] += level
            best = Sigma(weights.reshape(-1, *energies.shape[1:]), float(gains.mean()))
    return best


def _ridge(inputs: np.ndarray, targets: np.ndarray, strength: float) -> np.ndarray:
    """Return weights of ridge regression around the mean of all targets, from the inner products of images."""
    level = targets.mean()
    products = inputs[:, 1:] @ inputs[:, 1:].T
    held_back = products + strength * np.mean(np.diagonal(products)) * np.eye(len(products))
    slopes = inputs[:, 1:].T @ np.linalg.solve(held_back, targets - level)
    return np.concatenate([np.full((1, targets.shape[1]), level), slopes])
