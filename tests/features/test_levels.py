"""Averages over 3x3, resizing and joining of levels, against SciPy and PyTorch."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from jaxunreg.features.levels import average_3x3, join_levels, resize


def maps(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("size", [(5, 7), (1, 4), (2, 1)])
def test_the_average_is_over_the_neighbours_that_exist(size):
    x = maps(2, *size, 3)
    weights = np.ones((1, 3, 3, 1))
    total = scipy.ndimage.convolve(x.astype(np.float64), weights, mode="constant")
    count = scipy.ndimage.convolve(np.ones(x.shape), weights, mode="constant")
    np.testing.assert_allclose(average_3x3(jnp.asarray(x)), total / count, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("before", "after"), [((4, 4), (8, 8)), ((5, 3), (9, 6)), ((2, 2), (2, 2))])
def test_resizing_is_pytorchs(before, after):
    torch = pytest.importorskip("torch")
    x = maps(2, *before, 3)
    wanted = torch.nn.functional.interpolate(
        torch.tensor(x).permute(0, 3, 1, 2), after, mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(resize(jnp.asarray(x), *after), wanted.permute(0, 2, 3, 1), rtol=1e-5, atol=1e-5)


def test_levels_are_joined_on_the_first_grid_each_by_itself():
    fine, coarse = (jnp.asarray(maps(2, *shape)) for shape in ((6, 8, 2), (3, 4, 5)))
    joined = join_levels([fine, coarse])
    np.testing.assert_array_equal(joined[..., :2], average_3x3(fine))
    np.testing.assert_array_equal(joined[..., 2:], resize(average_3x3(coarse), 6, 8))
