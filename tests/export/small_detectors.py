"""Detectors that are made in a second: of a network of a user's own, and of a small VAE on pixels."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxunreg as ju
from jaxunreg.features import Tiling, WhiteningConfig, fit_whitening, wrap
from jaxunreg.inspection import calibrate_detector
from jaxunreg.scoring import FeatureScorer
from jaxunreg.scoring.working_size import shrunk

SIZE = (32, 48)


def image(seed: int, height: int = 45, width: int = 60, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 120, (height, width, channels), np.uint8)


def convolved(kernel: jax.Array, images: jax.Array) -> jax.Array:
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (8, 8 + -height % 8), (8, 8 + -width % 8), (0, 0)))
    numbers = ("NHWC", "HWIO", "NHWC")
    return jnp.tanh(jax.lax.conv_general_dilated(padded, kernel, (8, 8), "VALID", dimension_numbers=numbers))


def of_features(channels: int = 3, **settings) -> ju.AnomalyDetector:
    kernel = jnp.asarray(np.random.default_rng(1).normal(size=(24, 24, channels, 5)) / 20, jnp.float32)
    network = wrap(convolved, kernel, name="own", image_channels=channels, tiling=Tiling(8, 8))
    images = [image(k, channels=channels) for k in range(40)]
    seen = network(jnp.stack([shrunk(one, SIZE, channels).pixels for one in images[:20]]))
    whitening = fit_whitening(seen, WhiteningConfig(per_place=True, shrinkage=0.5))
    scorer = FeatureScorer(network, whitening, SIZE, channels)
    return calibrate_detector(scorer, images[20:], stride=8, top_k=3, false_positive_rate=0.1, **settings)


def of_pixels(**config) -> ju.AnomalyDetector:
    model = ju.VAE(ju.VAEConfig(image_shape=(16, 16, 1), depth=2, base_channels=4, latent_dim=3, **config))
    scorer = ju.make_scorer(model, jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 16, 16, 1))))
    return calibrate_detector(
        scorer, [image(k, channels=1) for k in range(20)], stride=8, top_k=2, false_positive_rate=0.1
    )
