"""Regions of heat maps against a walk over the pixels."""

import numpy as np
import pytest

from jaxunreg.inspection.regions import find_regions, region_mask


def flood(above: np.ndarray) -> list[set[tuple[int, int]]]:
    """Connected pixels, corners included, by walking from each."""
    left, found = set(zip(*(axis.tolist() for axis in np.nonzero(above)), strict=True)), []
    while left:
        region, edge = set(), {left.pop()}
        while edge:
            region |= edge
            edge = {(r + i, c + j) for r, c in edge for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= edge
        found.append(region)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_regions_are_those_of_a_walk_over_the_pixels(seed):
    rng = np.random.default_rng(seed)
    heat = rng.gumbel(size=(23, 31))
    counted = rng.random(heat.shape) < 0.9
    regions = find_regions(heat, 1.5, counted)
    expected = flood((heat > 1.5) & counted)
    assert len(regions) == len(expected) > 5
    assert [region.peak for region in regions] == sorted((region.peak for region in regions), reverse=True)
    by_peak = {max(heat[pixel] for pixel in pixels): pixels for pixels in expected}
    for region in regions:
        pixels = by_peak[region.peak]
        rows, columns = zip(*pixels, strict=True)
        assert region.box == (min(rows), min(columns), max(rows) - min(rows) + 1, max(columns) - min(columns) + 1)
        assert region.area == len(pixels)
        assert region.mean == pytest.approx(np.mean([heat[pixel] for pixel in pixels]), rel=1e-12)
    assert region_mask(heat, 1.5, counted).sum() == sum(region.area for region in regions)


def test_a_level_is_exceeded_strictly_and_nothing_above_it_is_no_region():
    heat = np.full((3, 4), 2.0)
    assert find_regions(heat, 2.0) == ()
    [whole] = find_regions(heat, np.nextafter(2.0, 0.0))
    assert (whole.box, whole.area, whole.peak, whole.mean) == ((0, 0, 3, 4), 12, 2.0, 2.0)


def test_a_map_that_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="got 1 of 2 pixels of a heat map that are NaN"):
        find_regions(np.array([[np.nan, 1.0]]), 0.0)
