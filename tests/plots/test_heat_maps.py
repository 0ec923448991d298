"""Pictures of a detector: a heat has the same colour in all of them, and normal parts look unchanged."""

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex

from jaxunreg.inspection.verdict import Box
from jaxunreg.plots import heat_map_examples, heat_map_overlay
from jaxunreg.plots.style import NORMAL

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


def overlay(height: int, width: int, box: tuple[int, int, int, int] | None = None, **more):
    box = None if box is None else Box(*box)
    return heat_map_overlay(
        image(0, height, width), np.ones((height, width)), scale=(0.0, 20.0), box=box, **{**TEXT, **more}
    )


def panel(figure, axes: int) -> np.ndarray:
    """Left, bottom, width and height in pixels of the figure."""
    return np.multiply(figure.axes[axes].get_position().bounds, np.tile(figure.bbox.size, 2))


@pytest.mark.parametrize("size", [(20, 30), (500, 480), (640, 700), (40, 4000)])
@pytest.mark.parametrize("place", [(0, 0), (9, 13)])
def test_the_line_about_the_box_is_thin_and_covers_none_of_it(size, place):
    figure = overlay(*size, (*place, 8, 9))
    marked = [axes for axes in figure.axes if axes.images and axes.patches]
    assert marked == figure.axes[: len(figure.axes) - 1 : 2]
    for axes in marked:
        [box] = axes.patches
        assert to_hex(box.get_edgecolor()) == NORMAL.lower()
        half = box.get_linewidth() / 72 * figure.dpi / 2
        assert half < 1.5
        # The box is so near to the image's corner that the close-up begins there.
        covered = np.sort(
            axes.transData.transform([(place[1] - 0.5, place[0] - 0.5), (place[1] + 8.5, place[0] + 7.5)]), 0
        )
        drawn = np.sort(box.get_window_extent().get_points(), 0)
        away = np.stack([covered[0] - drawn[0], drawn[1] - covered[1]])
        assert (half <= away).all()
        assert (away < 9).all()
        assert (np.ptp(drawn, 0) > 16 - 1e-6).all()
        assert not box.get_clip_on()  # As it lies beside an image at whose edge the box is.


def test_the_figure_of_a_small_image_is_of_one_width_and_that_of_a_large_one_shows_each_pixel():
    for height, width in ((60, 80), (256, 256), (500, 400), (400, 500)):
        figure = overlay(height, width, (3, 4, 16, 16))
        assert (figure.bbox.width, len(figure.axes)) == (1080, 3)
        for k in range(2):
            np.testing.assert_allclose(panel(figure, k)[2:], [456.75, 456.75 * height / width])
    for height, width in ((480, 640), (1200, 1000), (700, 1300)):
        figure = overlay(height, width)
        np.testing.assert_allclose([panel(figure, k)[2:] for k in range(2)], [[width, height]] * 2)


@pytest.mark.parametrize("size", [(1500, 4096), (4096, 1500), (1900, 1800), (40, 20_000), (20_000, 40), (400, 20)])
def test_a_figure_has_a_bounded_size_and_its_panels_the_shape_of_the_image(size):
    figure = overlay(*size, (5, 3, 16, 16))
    assert figure.bbox.size.max() <= 4000
    assert figure.bbox.size.prod() < 10e6
    for k in range(2):
        across, down = panel(figure, k)[2:]
        assert down / across == pytest.approx(size[0] / size[1])
        assert max(across, down) > 1000


@pytest.mark.parametrize(("size", "stacked"), [((400, 1100), True), ((1100, 400), False), ((900, 1100), False)])
def test_the_heat_of_a_wide_image_is_below_it_and_else_beside_it(size, stacked):
    for box in (None, (5, 3, 16, 16)):
        figure = overlay(*size, box)
        (left, bottom, width, height), (heat_left, heat_bottom, _, _) = panel(figure, 0), panel(figure, 1)
        assert (heat_left, heat_bottom + height < bottom) == ((left, True) if stacked else (heat_left, False))
        assert (heat_bottom, heat_left > left + width) == ((bottom, True) if not stacked else (heat_bottom, False))


@pytest.mark.parametrize(
    ("size", "patch"), [((300, 1400), 64), ((1400, 300), 16), ((600, 700), 32), ((900, 1100), 160)]
)
def test_a_large_image_has_a_close_up_of_the_patch_and_what_is_about_it(size, patch):
    height, width = size
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    for top, left in ((0, 0), (height // 2, width // 3), (height - patch, width - patch)):
        heat = np.zeros(size)
        heat[top : top + patch, left : left + patch] = 30.0
        box = Box(top, left, patch, patch)
        figure = heat_map_overlay(rgb, heat, scale=(0.0, 20.0), box=box, mask=heat > 0, **TEXT)
        assert [len(axes.collections) for axes in figure.axes[:-1]] == [1] * 4
        side = max(3 * patch, 128)
        first = min(max(top + patch // 2 - side // 2, 0), height - side)
        across = min(max(left + patch // 2 - side // 2, 0), width - side)
        seen = (slice(first, first + side), slice(across, across + side))
        for k in range(2):
            np.testing.assert_array_equal(picture(figure, 2 + k), picture(figure, k)[seen])
            assert (panel(figure, 2 + k)[2:] >= side - 1e-6).all()
        assert (heat[seen] > 0).sum() == patch**2
        (left_end, bottom, *_), (close_left, close_bottom, _, close_height) = panel(figure, 1), panel(figure, 2)
        # To the right of a tall image, below others.
        assert (close_left > left_end, close_bottom + close_height < bottom) == ((height > width), (height <= width))


def test_a_close_up_within_a_defect_has_no_outline():
    mask = np.zeros((600, 700), bool)
    mask[100:500, 100:500] = True
    figure = overlay(600, 700, (300, 300, 16, 16), mask=mask)
    assert [len(axes.collections) for axes in figure.axes[:-1]] == [1, 1, 0, 0]


def test_there_is_no_close_up_without_a_patch_or_of_one_that_fills_the_image():
    assert len(overlay(700, 900).axes) == len(overlay(700, 900, (0, 0, 256, 256)).axes) == 3


@pytest.mark.parametrize("size", [(20, 500), (500, 20), (24, 501), (501, 24), (30, 20_000), (20_000, 30), (700, 1200)])
def test_nothing_overlaps_whatever_the_shape(size):
    note = "One scale for all images, smoothed by 4 pixels. The mark in it: 1 in 1,000 pixels of held-out normal images"
    note += " is above it. Box: the most anomalous patch."
    figure = overlay(*size, (1, 0, 16, 16), note=note, title="folder/" * 99, mark=10.0)
    FigureCanvasAgg(figure).draw()
    *panels, bar = figure.axes
    numbers = [number for number in bar.get_yticklabels() if number.get_text()]
    parts = [shown.get_window_extent() for shown in (*panels, *figure.texts)]
    for boxes in ([*parts, bar.get_tightbbox()], [text.get_window_extent() for text in (*numbers, bar.yaxis.label)]):
        for k, box in enumerate(boxes):
            np.testing.assert_array_equal(figure.bbox.union([figure.bbox, box]).bounds, figure.bbox.bounds)
            assert not any(box.overlaps(other) for other in boxes[:k])


def test_what_does_not_fit_is_refused(no_type_checks):
    with pytest.raises(ValueError, match=r"got a heat map of shape \[20, 29\]; expected \[20, 30\]"):
        heat_map_overlay(image(0), np.ones((20, 29)), scale=(0.0, 1.0), **TEXT)
    with pytest.raises(ValueError, match="NaN"):
        heat_map_overlay(image(0), np.full((20, 30), np.nan), scale=(0.0, 1.0), **TEXT)
    with pytest.raises(ValueError, match=r"got a scale from 1.0 to 1.0"):
        heat_map_overlay(image(0), np.ones((20, 30)), scale=(1.0, 1.0), **TEXT)
    with pytest.raises(ValueError, match="got no images"):
        heat_map_examples([], [], [], [], scale=(0.0, 1.0), title="", label="")


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


def test_what_does_not_count_is_pale_and_has_no_heat():
    counted = np.ones((20, 30), bool)
    counted[:, :10] = False
    figure = heat_map_overlay(
        np.full((20, 30, 1), 90, np.uint8), np.full((20, 30), 25.0), scale=(0.0, 20.0), counted=counted, **TEXT
    )
    over = picture(figure, 1)
    np.testing.assert_allclose(over[:, :10], 1 - 0.25 * (1 - 90 / 255), atol=1e-6)
    assert np.ptp(over[0, 15]) > 0.1
    [examples] = [
        heat_map_examples(
            [np.full((20, 30, 1), 90, np.uint8)],
            [np.full((20, 30), 25.0)],
            [None],
            [("good", False)],
            scale=(0.0, 20.0),
            title="a",
            label="b",
            counted=[counted],
        )
    ]
    np.testing.assert_allclose(picture(examples, 1), over, atol=1e-6)


def test_a_named_region_is_outlined_on_both():
    region = np.zeros((20, 30), bool)
    region[5:9, 5:9] = True
    figure, plain = overlay(20, 30, regions=[region]), overlay(20, 30)
    pictures = {"scale": (0.0, 20.0), "title": "a", "label": "b"}
    some, none = (
        heat_map_examples([image(0)], [np.ones((20, 30))], [None], [("good", False)], regions=regions, **pictures)
        for regions in ([[region]], None)
    )
    for axes in (0, 1):
        assert len(figure.axes[axes].collections) == len(plain.axes[axes].collections) + 1
        assert len(some.axes[axes].collections) == len(none.axes[axes].collections) + 1
