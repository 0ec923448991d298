"""Two kinds of images whose densities are known."""

import numpy as np

SHAPE = (4, 5, 2)


PIXELS = 40


def correlated_images(n: int, seed: int) -> np.ndarray:
    """Two kinds of uint8 images, dark and bright, whose pixels lie near a plane of six dimensions each."""
    rng = np.random.default_rng(seed)
    bright = np.arange(n) % 3 == 0
    planes = np.random.default_rng(100).normal(size=(2, 6, PIXELS))
    levels = np.where(bright, 170.0, 80.0)[:, None]
    pixels = np.einsum("nj,njp->np", rng.normal(size=(n, 6)), planes[bright.astype(int)])
    return (
        np.clip(np.round(levels + 8 * pixels + 2 * rng.normal(size=(n, PIXELS))), 0, 255)
        .astype(np.uint8)
        .reshape(n, *SHAPE)
    )


def rows(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1) / 255
