"""Pictures of a detector: one heat has one colour in all of them, and what is not odd is shown as it is."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex

from jaxunreg.plots import ANOMALOUS, NORMAL
from jaxunreg.plots_detection import heat_map_examples, heat_map_overlay, score_strips

TEXT = {"title": "a.png", "verdict": "normal", "is_anomalous": False, "label": "M, nats a pixel", "note": "one scale"}


def image(seed: int, height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 1), np.uint8)


def picture(figure, axes: int) -> np.ndarray:
    return np.asarray(figure.axes[axes].get_images()[0].get_array())


def test_a_heat_has_one_colour_in_every_image():
    colors = []
    for seed, size in ((0, (20, 30)), (1, (31, 17))):
        heat = np.full(size, 0.0)
        heat[5, 7], heat[6, 7] = 10.0, 25.0
        figure = heat_map_overlay(np.full((*size, 1), 90, np.uint8), heat, scale=(0.0, 20.0), **TEXT)
        colors.append(picture(figure, 1)[5:7, 7])
        heat[-1, -1] = 1e6 * seed  # What else there is in an image does not move its scale.
    np.testing.assert_array_equal(*colors)
    plasma = matplotlib.colormaps["plasma"]
    expected = [0.15 * 90 / 255 + 0.85 * np.array(plasma(share)[:3]) for share in (0.5, 1.0)]
    np.testing.assert_allclose(colors[0], expected, atol=1e-6)


def test_where_nothing_is_odd_the_image_is_seen_in_gray():
    rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    figure = heat_map_overlay(rgb, np.full((20, 30), 1.0), scale=(0.0, 20.0), **TEXT)
    np.testing.assert_allclose(picture(figure, 0), rgb / 255, atol=1e-6)
    gray = np.repeat(rgb.mean(axis=2, keepdims=True) / 255, 3, axis=2)
    np.testing.assert_allclose(picture(figure, 1), gray, atol=1e-6)


def test_the_box_lies_on_the_pixels_that_it_names():
    figure = heat_map_overlay(image(0), np.ones((20, 30)), scale=(0.0, 20.0), box=(2, 5, 8, 9), **TEXT)
    [box] = figure.axes[0].patches
    assert (box.get_y(), box.get_x(), box.get_height(), box.get_width()) == (1.5, 4.5, 8, 9)
    assert to_hex(box.get_edgecolor()) == NORMAL.lower()


def test_what_does_not_fit_is_refused(no_type_checks):
    with pytest.raises(ValueError, match=r"got a heat map of shape \[20, 29\]; expected \[20, 30\]"):
        heat_map_overlay(image(0), np.ones((20, 29)), scale=(0.0, 1.0), **TEXT)
    with pytest.raises(ValueError, match="NaN"):
        heat_map_overlay(image(0), np.full((20, 30), np.nan), scale=(0.0, 1.0), **TEXT)
    with pytest.raises(ValueError, match=r"got a scale from 1.0 to 1.0"):
        heat_map_overlay(image(0), np.ones((20, 30)), scale=(1.0, 1.0), **TEXT)
    with pytest.raises(ValueError, match="got no images"):
        heat_map_examples([], [], [], [], scale=(0.0, 1.0), title="", label="")
    with pytest.raises(ValueError, match="without a finite score"):
        score_strips({"good": np.array([np.nan])}, threshold=1.0, title="", label="")


def test_examples_keep_their_shapes_whatever_their_sizes():
    sizes = [(20, 30), (60, 20), (20, 60), (30, 30), (25, 20)]
    images = [image(k, *size) for k, size in enumerate(sizes)]
    heats = [np.ones(size) for size in sizes]
    mask = np.zeros((30, 30), bool)
    mask[3:9, 4:12] = True
    masks = [None, None, None, mask, None]
    figure = heat_map_examples(
        images, heats, masks, [("good", False)] * 5, scale=(0.0, 9.0), title="Examples", label="M", mark=4.0
    )
    width, height = figure.get_size_inches()
    for k, size in enumerate(sizes):
        for axes in figure.axes[2 * k : 2 * k + 2]:
            _, _, across, down = axes.get_position().bounds
            assert down * height / (across * width) == pytest.approx(size[0] / size[1])
            assert bool(axes.collections) == (k == 3)


def test_the_first_kind_is_the_normal_one():
    scores = {"good (2)": np.array([1.0, 2.0]), "crack (1)": np.array([3.0])}
    figure = score_strips(scores, threshold=2.5, title="Scores", label="M, nats")
    dots = figure.axes[0].collections
    assert [to_hex(dot.get_facecolor()[0]) for dot in dots] == [NORMAL.lower(), ANOMALOUS.lower()]
    assert dots[0].get_offsets()[:, 0].tolist() == [1.0, 2.0]
