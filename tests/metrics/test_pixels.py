"""The pixel metrics against scikit-learn, a slow direct implementation and closed forms."""

import time
from collections import deque

import numpy as np
import pytest
import sklearn.metrics

from jaxunreg.metrics.pixels import per_region_overlap, per_region_overlap_curve, pixel_roc_auc

Images = tuple[list[np.ndarray], list[np.ndarray | None]]


def blobs(seed: int, decimals: int = 8) -> Images:
    """Maps of several sizes that rise in rectangles of several sizes, which may touch; some images are normal."""
    rng = np.random.default_rng(seed)
    maps, masks = [], []
    for i in range(8):
        height, width = rng.integers(5, 20, size=2)
        mask = np.zeros((height, width), bool)
        for _ in range(3):
            row, column, size = rng.integers(height), rng.integers(width), rng.integers(1, 5)
            mask[row : row + size, column : column + size + 1] = True
        maps.append(np.round(rng.normal(size=mask.shape) + mask * rng.uniform(0, 2), decimals))
        masks.append(mask)
        if i % 4 == 3:
            maps[-1], masks[-1] = np.round(rng.normal(size=mask.shape), decimals), None
    return maps, masks


def regions_of(mask: np.ndarray) -> list[np.ndarray]:
    """The connected components of a mask, one boolean array each, by flooding from pixel to neighbouring pixel."""
    left, regions = mask.copy(), []
    for start in zip(*np.nonzero(mask), strict=True):
        if not left[start]:
            continue
        region, queue = np.zeros_like(mask), deque([start])
        left[start] = False
        while queue:
            row, column = queue.popleft()
            region[row, column] = True
            for i in range(max(row - 1, 0), min(row + 2, mask.shape[0])):
                for j in range(max(column - 1, 0), min(column + 2, mask.shape[1])):
                    if left[i, j]:
                        left[i, j] = False
                        queue.append((i, j))
        regions.append(region)
    return regions


def direct_curve(maps: list[np.ndarray], masks: list[np.ndarray | None]) -> tuple[np.ndarray, np.ndarray]:
    """Threshold after threshold, region after region."""
    filled = [np.zeros(heat.shape, bool) if mask is None else mask for heat, mask in zip(maps, masks, strict=True)]
    regions = [(heat, region) for heat, mask in zip(maps, filled, strict=True) for region in regions_of(mask)]
    normal = np.concatenate([heat[~mask] for heat, mask in zip(maps, filled, strict=True)])
    points = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate([heat.ravel() for heat in maps]))[::-1]:
        overlaps = [np.mean(heat[region] >= threshold) for heat, region in regions]
        points.append((np.mean(normal >= threshold), np.mean(overlaps)))
    fpr, overlap = np.transpose(points)
    return fpr, overlap


def direct_area(fpr: np.ndarray, overlap: np.ndarray, limit: float) -> float:
    """Trapezoid after trapezoid up to the limit."""
    area = 0.0
    for x0, x1, y0, y1 in zip(fpr[:-1], fpr[1:], overlap[:-1], overlap[1:], strict=True):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            area += (end - x0) * (y0 + y_end) / 2
    return area / limit


DECIMALS = pytest.mark.parametrize("decimals", [8, 1, 0], ids=["no ties", "some ties", "many ties"])


@DECIMALS
def test_pixel_auc_is_scikit_learns(decimals: int) -> None:
    maps, masks = blobs(decimals, decimals)
    truth = [np.zeros(heat.size) if mask is None else mask.ravel() for heat, mask in zip(maps, masks, strict=True)]
    expected = sklearn.metrics.roc_auc_score(np.concatenate(truth), np.concatenate([heat.ravel() for heat in maps]))
    assert 0.5 < expected < 0.99
    assert pixel_roc_auc(maps, masks) == pytest.approx(expected, abs=1e-12)


@DECIMALS
@pytest.mark.parametrize("max_fpr", [0.02, 0.3, 1.0])
def test_overlap_is_that_of_the_direct_implementation(decimals: int, max_fpr: float) -> None:
    maps, masks = blobs(10 + decimals, decimals)
    expected = direct_area(*direct_curve(maps, masks), max_fpr)
    assert per_region_overlap(maps, masks, max_fpr=max_fpr) == pytest.approx(expected, abs=1e-12)


@DECIMALS
def test_overlap_curve_passes_through_every_threshold(decimals: int) -> None:
    maps, masks = blobs(20 + decimals, decimals)
    fpr, overlap = per_region_overlap_curve(maps, masks)
    assert (fpr[0], overlap[0], fpr[-1], overlap[-1]) == (0, 0, 1, 1)
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(overlap) >= 0).all()
    for x, y in zip(*direct_curve(maps, masks), strict=True):
        # On a vertical stretch any height between its ends, elsewhere the one of the straight line.
        at = overlap[np.isclose(fpr, x, rtol=0, atol=1e-12)]
        low, high = (at.min(), at.max()) if at.size else (np.interp(x, fpr, overlap),) * 2
        assert low - 1e-12 <= y <= high + 1e-12


def test_every_region_weighs_the_same_and_pixels_do_not() -> None:
    """A hundred pixels found and one missed: half of the regions, 100 of 101 pixels."""
    mask = np.zeros((20, 20), bool)
    mask[:10, :10] = mask[15, 15] = True
    heat = mask.astype(np.float32)
    heat[15, 15] = -1.0
    assert per_region_overlap([heat], [mask]) == pytest.approx(0.5, abs=1e-12)
    assert pixel_roc_auc([heat], [mask]) == pytest.approx(100 / 101, abs=1e-12)


def test_pixels_that_touch_at_a_corner_are_one_region() -> None:
    mask = np.zeros((6, 6), bool)
    mask[0, 0] = mask[1, 1] = mask[4, 4] = True
    heat = np.zeros((6, 6))
    heat[4, 4] = heat[0, 0] = 1.0
    heat[1, 1] = -1.0
    # Two regions, found to one half and wholly; with neighbours along edges alone, three, of which two are found.
    assert per_region_overlap([heat], [mask]) == pytest.approx(0.75, abs=1e-12)


def test_perfect_and_constant_and_inverted_maps() -> None:
    _, masks = blobs(30)
    masks = [np.zeros((7, 9), bool) if mask is None else mask for mask in masks]
    for sign, auc, pro in ((1, 1.0, 1.0), (0, 0.5, 0.15), (-1, 0.0, 0.0)):
        maps = [sign * mask.astype(np.float32) for mask in masks]
        assert pixel_roc_auc(maps, masks) == auc
        assert per_region_overlap(maps, masks) == pytest.approx(pro, abs=1e-12)


def test_overlap_of_two_uniform_distributions_is_known() -> None:
    """Normal scores uniform in [0, 1], anomalous ones in [h, 1 + h]: overlap(f) = min(1, f + h)."""
    shift, side = 0.4, 400
    rng = np.random.default_rng(31)
    mask = np.zeros((side, side), bool)
    mask[: side // 2] = True
    heat = rng.uniform(size=mask.shape) + shift * mask
    # The mean height of min(1, f + h) over f in [0, 0.3] and over [0, 1].
    sigma = 0.5 / np.sqrt(mask.sum())
    assert abs(per_region_overlap([heat], [mask]) - 0.55) < 4 * sigma
    assert abs(per_region_overlap([heat], [mask], max_fpr=1.0) - (1 - 0.6**2 / 2)) < 4 * sigma
    assert abs(pixel_roc_auc([heat], [mask]) - (1 - 0.6**2 / 2)) < 4 * sigma


def test_one_region_up_to_the_end_is_the_area_under_the_roc_curve() -> None:
    rng = np.random.default_rng(32)
    mask = np.zeros((30, 30), bool)
    mask[4:9, 10:20] = True
    heat = np.round(rng.normal(size=mask.shape) + mask, 1)
    assert per_region_overlap([heat], [mask], max_fpr=1.0) == pytest.approx(pixel_roc_auc([heat], [mask]), abs=1e-12)


@pytest.mark.parametrize("metric", [pixel_roc_auc, per_region_overlap])
def test_only_the_order_counts_and_the_images_may_come_in_any(metric) -> None:
    maps, masks = blobs(33, 1)
    expected = metric(maps, masks)
    before = [heat.copy() for heat in maps]
    assert metric([np.exp(heat) for heat in maps], masks) == pytest.approx(expected, abs=1e-12)
    assert metric(maps[::-1], masks[::-1]) == pytest.approx(expected, abs=1e-12)
    assert metric([heat.T for heat in maps], [None if mask is None else mask.T for mask in masks]) == pytest.approx(
        expected, abs=1e-12
    )
    for heat, unchanged in zip(maps, before, strict=True):
        np.testing.assert_array_equal(heat, unchanged)
    infinite = [np.where(heat == heat.max(), np.inf, heat) for heat in maps]
    large = [np.where(heat == heat.max(), 99.0, heat) for heat in maps]
    assert metric(infinite, masks) == metric(large, masks)
    integers = [np.round(10 * heat).astype(int) for heat in maps]
    assert metric(integers, masks) == pytest.approx(expected, abs=1e-12)
    empty = [np.zeros(heat.shape, bool) if mask is None else mask for heat, mask in zip(maps, masks, strict=True)]
    assert metric(maps, empty) == expected


def test_float64_maps_keep_what_float32_would_tie() -> None:
    heat, mask = np.array([[1.0, 1.0 + 1e-12]]), np.array([[False, True]])
    assert pixel_roc_auc([heat], [mask]) == 1.0
    assert pixel_roc_auc([heat.astype(np.float32)], [mask]) == 0.5
    # One map in float64 is enough.
    assert pixel_roc_auc([np.zeros((1, 1), np.float32), heat], [None, mask]) == 1.0


def test_eight_million_pixels_take_seconds() -> None:
    rng = np.random.default_rng(34)
    mask = np.zeros((400, 400), bool)
    mask[100:160, 100:160] = mask[300:310, 20:50] = True
    maps = [rng.normal(size=mask.shape).astype(np.float32) + mask for _ in range(50)]
    start = time.process_time()
    auc, overlap = pixel_roc_auc(maps, [mask] * 50), per_region_overlap(maps, [mask] * 50)
    assert time.process_time() - start < 20
    # Phi(1 / sqrt 2), to four standard errors of at most 1/2 a pixel.
    assert abs(auc - 0.7602499389) < 4 * 0.5 / np.sqrt(50 * mask.sum())
    assert 0.15 < overlap < auc


BAD = [
    ([np.zeros((2, 2))], [], ValueError, "1 maps and 0 masks"),
    ([], [], ValueError, "0 masks without an anomalous pixel"),
    ([np.zeros((2, 2))], [None], ValueError, "1 masks without an anomalous pixel"),
    ([np.zeros((2, 2))], [np.ones((2, 2), bool)], ValueError, "1 masks without a normal pixel"),
    ([np.zeros((2, 2))], [np.ones((2, 3), bool)], ValueError, r"shape \(2, 3\) of mask 0 for a map of .*\(2, 2\)"),
    ([np.zeros((2, 2))], [np.full((2, 2), 255, np.uint8)], TypeError, "dtype uint8 of mask 0.*mask > 0"),
    ([np.zeros((2, 2, 1))], [None], ValueError, r"shape \(2, 2, 1\) of map 0"),
    ([np.zeros((0, 2))], [None], ValueError, r"shape \(0, 2\) of map 0"),
    ([np.zeros((2, 2)), np.array([[0.0, np.nan]])], [None, None], ValueError, "1 of 2 pixels of map 1 that are NaN"),
    ([np.ma.masked_equal(np.eye(2), 1)], [None], ValueError, "map 0 of which 2 of 4 values are masked"),
    (
        [np.zeros((2, 2))],
        [np.ma.masked_equal(np.eye(2) > 0, 1)],
        ValueError,
        "mask 0 of which 2 of 4 values are masked",
    ),
    ([np.zeros((2, 2), bool)], [None], TypeError, "dtype bool of map 0"),
]


@pytest.mark.parametrize("metric", [pixel_roc_auc, per_region_overlap])
@pytest.mark.parametrize(("maps", "masks", "error", "message"), BAD)
def test_bad_maps_and_masks_are_refused(metric, maps, masks, error, message) -> None:
    with pytest.raises(error, match=message):
        metric(maps, masks)


@pytest.mark.parametrize("max_fpr", [0.0, 1.1, 30.0, float("nan")])
def test_a_limit_that_is_no_rate_is_refused(max_fpr: float) -> None:
    with pytest.raises(ValueError, match="max_fpr="):
        per_region_overlap(*blobs(35), max_fpr=max_fpr)
