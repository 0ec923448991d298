"""Benjamini-Hochberg against scipy, and its promise on lots that share their held-out images."""

import numpy as np
import pytest
import scipy.stats

from jaxunreg.inspection.calibration import calibrate
from jaxunreg.inspection.lots import benjamini_hochberg, fewest_rejections


@pytest.mark.parametrize("seed", range(5))
def test_what_is_rejected_is_what_scipy_adjusts_below_the_rate(seed):
    rng = np.random.default_rng(seed)
    p_values = np.round(rng.beta(0.4, 1.0, size=60), 2)
    for rate in (0.0507, 0.1007, 0.3007):
        adjusted = scipy.stats.false_discovery_control(p_values, method="bh")
        np.testing.assert_array_equal(benjamini_hochberg(p_values, rate), adjusted <= rate)


def test_the_false_discovery_rate_is_kept_although_all_parts_share_the_held_out_images():
    rng, rate, lots, held_out, parts, defects = np.random.default_rng(0), 0.2, 1000, 100, 40, 8
    shares, found = [], 0
    for _ in range(lots):
        calibration = calibrate(rng.normal(size=held_out))
        scores = rng.normal(size=parts)
        scores[:defects] += 3.0
        rejected = benjamini_hochberg(calibration.p_values(scores), rate)
        shares.append(rejected[defects:].sum() / max(1, rejected.sum()))
        found += rejected[:defects].sum()
    error = np.std(shares) / np.sqrt(lots)
    assert np.mean(shares) <= rate * (1 - defects / parts) + 4 * error
    # It is a promise worth having: it is nearly used up, and most defects are found.
    assert np.mean(shares) > 0.5 * rate * (1 - defects / parts)
    assert found > 0.5 * lots * defects


@pytest.mark.parametrize(("held_out", "parts", "rate"), [(50, 100, 0.1), (999, 100, 0.1), (19, 7, 0.3), (99, 10, 0.1)])
def test_the_fewest_rejections_are_those_that_the_smallest_p_value_allows(held_out, parts, rate):
    fewest = fewest_rejections(held_out, parts, rate)
    for defects in (fewest - 1, fewest):
        if 1 <= defects <= parts:
            p_values = np.ones(parts)
            p_values[:defects] = 1 / (held_out + 1)
            assert benjamini_hochberg(p_values, rate).sum() == (defects if defects == fewest else 0)


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match="got p-values from -3 to 0.5; expected 0 to 1"):
        benjamini_hochberg([-3.0, 0.5], 0.1)
    with pytest.raises(ValueError, match="got rate=1.5"):
        benjamini_hochberg([0.1], 1.5)
    with pytest.raises(ValueError, match="got parts=0; expected at least 1"):
        fewest_rejections(10, 0, 0.1)
