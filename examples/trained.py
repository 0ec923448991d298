"""Shared by the other examples: a small VAE, trained in seconds on the embedded digits, and a defect for it to find."""

from functools import cache

import jax
import numpy as np

import jaxunreg as ju
from jaxunreg.datasets.digits.embedded import synth_digits
from jaxunreg.datasets.digits.erasing import EraseConfig, Erased, erase

SIZE = 16
DEFECT = EraseConfig(size=4, value=1.0)
"""A white square, at a random place of each image."""

TRAINING_IMAGES = 512


@cache
def trained(seed: int = 0, steps: int = 200) -> ju.Scorer:
    """Return the scorer of one training run. A second call with the same arguments trains nothing."""
    model = ju.VAE(ju.VAEConfig(image_shape=(SIZE, SIZE, 3), depth=2, base_channels=8, latent_dim=16))
    images = synth_digits(TRAINING_IMAGES, image_size=SIZE).images
    config = ju.TrainConfig(steps=steps, batch_size=64, learning_rate=3e-3)
    state = ju.fit(model, images, config, key=jax.random.key(seed), progress=False)
    return ju.make_scorer(model, state.variables)


@jax.jit
def score(scorer: ju.Scorer, images: jax.Array) -> ju.Decomposition:
    """Return D, A and M of each image, `[n]`. The scorer is an argument, so another scorer does not compile again."""
    return jax.vmap(scorer)(images)


def held_out(count: int) -> np.ndarray:
    """Return normal images that the model was not trained on, uint8 `[count, SIZE, SIZE, 3]`."""
    return synth_digits(count, image_size=SIZE, start=TRAINING_IMAGES).images


def with_defects(images: np.ndarray) -> Erased:
    """Return the same images with a white square each, and its place."""
    return erase(images, DEFECT)
