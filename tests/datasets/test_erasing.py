"""The toy anomaly: only the square changes, in exactly as many images as stated, everywhere equally often."""

import inspect

import numpy as np
import pytest
from scipy import stats

from jaxunreg.datasets.digits.erasing import EraseConfig, anomaly_masks, contaminate, erase


def unchecked(function):
    """The function as users run it, without the run-time type checker in front of its own errors."""
    return inspect.unwrap(function)


@pytest.fixture
def images():
    # 128 is what the default square paints: without it, every painted pixel is a changed one.
    levels = np.array([v for v in range(256) if v != 128], np.uint8)
    return levels[np.random.default_rng(7).integers(255, size=(300, 12, 10, 3))]


def box_by_loops(image, after):
    """Upper left and lower right of the changed pixels, found by looking at each of them."""
    changed = [
        (r, c) for r in range(image.shape[0]) for c in range(image.shape[1]) if (image[r, c] != after[r, c]).any()
    ]
    rows, columns = zip(*changed, strict=True)
    return (min(rows), min(columns)), (max(rows), max(columns)), len(changed)


@pytest.mark.parametrize(("size", "value", "level"), [(4, 0.5, 128), (1, 0.0, 0), (10, 1.0, 255), (3, 0.2, 51)])
def test_only_the_square_changes_and_has_exactly_the_gray_level(images, size, value, level):
    images = np.where(images == level, level ^ 1, images).astype(np.uint8)
    erased = erase(images, EraseConfig(size=size, value=value))
    for image, after, box in zip(images[:40], erased.images, erased.boxes, strict=False):
        first, last, count = box_by_loops(image, after)
        assert first == tuple(box)
        assert last == (box[0] + size - 1, box[1] + size - 1)
        assert count == size * size
        assert set(after[box[0] : box[0] + size, box[1] : box[1] + size].ravel().tolist()) == {level}


def test_erase_gives_every_image_a_square_and_leaves_its_argument_alone(images):
    before = images.copy()
    images.flags.writeable = False
    erased = erase(images, EraseConfig())
    np.testing.assert_array_equal(images, before)
    assert not np.shares_memory(erased.images, images)
    assert erased.images.shape == images.shape
    assert erased.images.dtype == np.uint8
    np.testing.assert_array_equal((erased.images != images).all(axis=-1).sum(axis=(1, 2)), np.full(300, 16))


@pytest.mark.parametrize(("height", "width", "size"), [(9, 7, 4), (4, 6, 4)])
def test_places_are_uniform_over_all_that_lie_wholly_inside(height, width, size):
    n = 20_000
    boxes = erase(np.zeros((n, height, width, 1), np.uint8), EraseConfig(size=size)).boxes
    rows, columns = height - size + 1, width - size + 1
    counts = np.zeros((rows, columns), int)
    np.add.at(counts, tuple(boxes.T), 1)  # a box outside raises IndexError
    assert counts.sum() == n
    assert counts[[0, 0, -1, -1], [0, -1, 0, -1]].min() > 0
    chi_square = ((counts - n / counts.size) ** 2 / (n / counts.size)).sum()
    freedom = counts.size - 1
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize(("rate", "count"), [(0.0, 0), (0.01, 3), (0.0084, 3), (0.5, 150), (1.0, 300)])
def test_contaminate_erases_exactly_the_stated_fraction(images, rate, count):
    before = images.copy()
    images.flags.writeable = False
    contaminated = contaminate(images, EraseConfig(rate=rate))
    np.testing.assert_array_equal(images, before)
    changed = (contaminated.images != images).any(axis=(1, 2, 3))
    assert changed.sum() == count
    np.testing.assert_array_equal(changed, contaminated.anomalous)
    assert contaminated.boxes.shape == (count, 2)
    masks = anomaly_masks(contaminated.boxes, images.shape[1:], 4)
    np.testing.assert_array_equal(
        (contaminated.images != images).any(axis=-1)[contaminated.anomalous], masks, strict=True
    )


def test_every_image_is_contaminated_equally_often():
    n, repetitions, rate = 50, 400, 0.2
    counts = sum(
        contaminate(np.zeros((n, 4, 4, 1), np.uint8), EraseConfig(rate=rate, seed=seed)).anomalous.astype(int)
        for seed in range(repetitions)
    )
    # Each count is binomial and their sum is a constant, which leaves n - 1 degrees of freedom.
    chi_square = ((counts - rate * repetitions) ** 2).sum() / (rate * (1 - rate) * repetitions) * (n - 1) / n
    assert abs(chi_square - (n - 1)) < 5 * np.sqrt(2 * (n - 1))


def test_contaminated_places_reach_all_corners():
    boxes = contaminate(np.zeros((4000, 8, 8, 1), np.uint8), EraseConfig(rate=0.5)).boxes
    _, counts = np.unique(boxes @ np.array([5, 1]), return_counts=True)
    assert counts.size == 25
    assert stats.chisquare(counts).pvalue > 1e-6


def test_the_seed_decides_everything(images):
    config = EraseConfig(rate=0.3, seed=11)
    for one, other in zip(erase(images, config), erase(images, EraseConfig(), seed=11), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(contaminate(images, config), contaminate(images, config), strict=True):
        np.testing.assert_array_equal(one, other)
    # 63 places for each of 300 images: two independent draws agree in about 5 of them.
    agree = (erase(images, config).boxes == erase(images, config, seed=12).boxes).all(axis=1).sum()
    assert agree < 300 / 63 + 6 * np.sqrt(300 / 63)
    assert (contaminate(images, config).anomalous != contaminate(images, EraseConfig(rate=0.3)).anomalous).any()


def test_one_seed_gives_contaminate_and_erase_different_places(images):
    config = EraseConfig(rate=1.0, seed=3)
    agree = (contaminate(images, config).boxes == erase(images, config).boxes).all(axis=1).sum()
    assert agree < 300 / 63 + 6 * np.sqrt(300 / 63)


def test_masks_mark_the_square_and_nothing_else():
    boxes = np.array([[0, 0], [2, 5], [1, 3]])
    masks = anomaly_masks(boxes, (6, 9, 3), 4)
    expected = np.zeros((3, 6, 9), bool)
    for mask, (top, left) in zip(expected, boxes, strict=True):
        for row in range(top, top + 4):
            for column in range(left, left + 4):
                mask[row, column] = True
    np.testing.assert_array_equal(masks, expected, strict=True)
    np.testing.assert_array_equal(anomaly_masks(boxes, (6, 9), 4), expected)
    assert anomaly_masks(boxes[:0], (6, 9), 4).shape == (0, 6, 9)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (np.zeros((2, 8, 8, 3), np.float32), TypeError, r"array of float32 .*expected .*uint8 .*convert"),
        (np.full((2, 8, 8, 3), np.nan), TypeError, r"array of float64 .*expected .*uint8"),
        ([[1, 2]], TypeError, "got a list as images; expected a NumPy array of uint8"),
        (
            np.zeros((8, 8, 3), np.uint8),
            ValueError,
            r"shape \[8, 8, 3\] as images; expected rank 4 .*add the missing axis",
        ),
        (np.zeros((0, 8, 8, 3), np.uint8), ValueError, r"shape \[0, 8, 8, 3\] as images, which holds no pixel"),
        (np.zeros((2, 8, 8, 0), np.uint8), ValueError, r"shape \[2, 8, 8, 0\] as images, which holds no pixel"),
        (
            np.zeros((2, 8, 3, 3), np.uint8),
            ValueError,
            "a 4x4 square does not fit into images of 8x3 .*at most 3",
        ),
    ],
)
@pytest.mark.parametrize("function", [erase, contaminate])
def test_bad_images_are_refused_with_what_was_got_and_what_to_do(function, bad, error, message):
    with pytest.raises(error, match=message):
        unchecked(function)(bad, EraseConfig())


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"size": 0}, ValueError, "got size=0; expected at least 1"),
        ({"size": 4.5}, TypeError, "got size=4.5 of type float; expected an integer"),
        ({"size": True}, TypeError, "got size=True of type bool"),
        ({"seed": -1}, ValueError, "got seed=-1; expected at least 0"),
        ({"value": float("nan")}, ValueError, r"got value=nan as the gray level .*; expected a number in \[0, 1\]"),
        ({"value": 128.0}, ValueError, r"got value=128.0 as the gray level .*; expected .*divided by 255"),
        ({"value": -0.1}, ValueError, "gray level"),
        ({"rate": float("nan")}, ValueError, r"got rate=nan .*; expected a number in \[0, 1\]"),
        ({"rate": 1.5}, ValueError, "got rate=1.5 .*; expected .*fraction"),
        ({"rate": -0.01}, ValueError, "got rate=-0.01"),
    ],
)
def test_a_config_that_makes_no_sense_cannot_be_built(fields, error, message):
    with pytest.raises(error, match=message):
        unchecked(EraseConfig.__init__)(object.__new__(EraseConfig), **fields)


@pytest.mark.parametrize(
    ("boxes", "shape", "size", "error", "message"),
    [
        (
            np.array([[0, 0], [5, 0]]),
            (8, 8),
            4,
            ValueError,
            r"box 1 .* \[5, 0\], .* 4x4 square outside .* 8x8",
        ),
        (np.array([[0, -1]]), (8, 8), 4, ValueError, "box 0"),
        (np.array([[0.0, 0.0]]), (8, 8), 4, TypeError, "array of float64 .*expected integers"),
        (np.array([0, 0]), (8, 8), 4, ValueError, r"shape \[2\] as boxes; expected integers of shape \[n, 2\]"),
        (np.array([[0, 0]]), (5, 8, 8, 3), 4, ValueError, r"leave out the number of images"),
        (np.array([[0, 0]]), (8, 8), 0, ValueError, "got size=0"),
    ],
)
def test_masks_of_squares_outside_the_image_are_refused(boxes, shape, size, error, message):
    with pytest.raises(error, match=message):
        unchecked(anomaly_masks)(boxes, shape, size)


def test_a_negative_seed_is_refused_by_erase(images):
    with pytest.raises(ValueError, match="got seed=-3; expected at least 0"):
        erase(images, EraseConfig(), seed=-3)
