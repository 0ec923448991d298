"""Images and fits that the tests of several baselines share."""

from collections.abc import Iterator

import jax
import numpy as np
import pytest

from jaxunreg.baselines import (
    GaussianMixture,
    GaussianMixtureConfig,
)
from tests.baselines.planted_images import correlated_images


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision, so that a disagreement is an error and not rounding."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture(scope="module")
def train() -> np.ndarray:
    return correlated_images(600, seed=0)


@pytest.fixture(scope="module")
def test() -> np.ndarray:
    return correlated_images(90, seed=1)


@pytest.fixture(scope="module")
def mixture(train: np.ndarray) -> GaussianMixture:
    return GaussianMixture(GaussianMixtureConfig(dtype="float64", tol=1e-6, max_iter=500)).fit(train)
