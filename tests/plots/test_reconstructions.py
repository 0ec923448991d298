"""Error maps, compared with scipy's density."""

import numpy as np
import pytest
import scipy.stats

from jaxunreg import plots


def test_error_maps_add_up_to_the_log_density_of_each_pixel() -> None:
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (2, 8, 8, 3), np.uint8)
    mean = rng.uniform(0, 1, images.shape).astype(np.float32)
    log_var = rng.uniform(-6, 0, images.shape).astype(np.float32)
    boxes = np.array([[0, 0], [4, 2]])
    figure = plots.error_maps(images, mean, log_var, title="VAE", boxes=boxes)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 12
    assert len(figure.axes) == 12 + 4
    sigma = np.exp(0.5 * log_var)
    surprise = -scipy.stats.norm.logpdf(images / 255.0, mean, sigma).sum(-1)
    for row in range(2):
        cells = [np.asarray(axes.images[0].get_array()) for axes in shown[6 * row : 6 * row + 6]]
        np.testing.assert_array_equal(cells[0], images[row])
        np.testing.assert_allclose(cells[1], mean[row])
        np.testing.assert_allclose(cells[2], abs(images[row] / 255.0 - mean[row]).mean(-1), atol=1e-6)
        np.testing.assert_allclose(cells[3], sigma[row].mean(-1), rtol=1e-5)
        np.testing.assert_allclose(cells[4] + cells[5], surprise[row], rtol=1e-4, atol=1e-4)
        assert [len(axes.patches) for axes in shown[6 * row : 6 * row + 6]] == [1, 0, 0, 0, 0, 0]
    # One colour scale a column.
    for column in range(2, 6):
        first, second = (shown[6 * row + column].images[0].norm for row in range(2))
        assert (first.vmin, first.vmax) == (second.vmin, second.vmax)


def test_error_maps_reject_shapes_that_differ() -> None:
    images = np.full((2, 8, 8, 1), 0.5, np.float32)
    with pytest.raises(ValueError, match="expected one shape"):
        plots.error_maps(images, images, images[:1], title="")
    with pytest.raises(ValueError, match=r"boxes of shape \[1, 2\]"):
        plots.error_maps(images, images, images, title="", boxes=np.zeros((1, 2), int))
    with pytest.raises(ValueError, match="log-variance images with NaN"):
        plots.error_maps(images, images, np.full_like(images, np.nan), title="")
