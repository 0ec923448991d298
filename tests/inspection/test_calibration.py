"""Calibration against counting, scipy's distributions and the promises of split conformal prediction."""

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats

from jaxunreg.inspection.calibration import Calibration, calibrate, images_needed

RATES = (0.01, 0.05, 0.1, 0.2, 0.29, 0.3, 0.5, 0.57, 0.7, 0.999, 1 / 3, 1 / 7, float(np.nextafter(0.1, 0)))


def direct_threshold(scores: np.ndarray, rate: Fraction) -> float:
    """The k-th smallest, in exact arithmetic."""
    k = math.ceil((len(scores) + 1) * (1 - rate))
    return sorted(scores.tolist())[k - 1]


@pytest.mark.parametrize("n", [1, 2, 9, 19, 20, 99, 120])
def test_threshold_is_the_finite_sample_quantile(n: int) -> None:
    scores = np.random.default_rng(n).normal(size=n)
    calibration = calibrate(scores)
    assert calibration.count == n
    checked = 0
    for percent in range(1, 100):
        rate = Fraction(percent, 100)
        if rate >= Fraction(1, n + 1):
            assert calibration.threshold(percent / 100) == direct_threshold(scores, rate)
            checked += 1
    assert checked >= 50


@pytest.mark.parametrize("decimals", [8, 1, 0], ids=["no ties", "some ties", "many ties"])
@pytest.mark.parametrize("n", [9, 49, 100])
def test_verdict_and_p_value_say_the_same(n: int, decimals: int) -> None:
    """For every rate, among them those that equal a p-value, and for scores that equal the threshold."""
    rng = np.random.default_rng(n)
    calibration = calibrate(np.round(rng.normal(size=n), decimals))
    scores = np.concatenate([np.round(rng.normal(size=300), decimals), calibration.scores])
    p_values = calibration.p_values(scores)
    np.testing.assert_array_equal(p_values, [(1 + np.sum(calibration.scores >= s)) / (n + 1) for s in scores])
    rates = [rate for rate in (*RATES, *(j / (n + 1) for j in range(1, n + 1))) if rate >= 1 / (n + 1)]
    for rate in rates:
        threshold = calibration.threshold(rate)
        assert threshold in calibration.scores
        np.testing.assert_array_equal(scores > threshold, p_values <= rate)
        np.testing.assert_array_equal(calibration.is_anomalous(scores, rate), p_values <= rate)
        assert not calibration.is_anomalous([threshold], rate)[0]
        assert calibration.is_anomalous([np.nextafter(threshold, np.inf)], rate)[0]


def test_float32_scores_that_tie_with_the_threshold_stay_normal() -> None:
    """0.1 in float32 is more than 0.1 in float64, and equal to it once both are float32."""
    calibration = calibrate([0.1] * 9)
    assert calibration.is_anomalous(np.array([0.1], np.float32), 0.1)[0]
    calibration = calibrate(np.array([0.1] * 9, np.float32))
    assert not calibration.is_anomalous(np.array([0.1], np.float32), 0.1)[0]
    assert calibration.p_values(np.array([0.1], np.float32)) == [1.0]


def test_p_values_of_normal_images_are_uniform() -> None:
    """Of `n` held-out scores and a new one, its rank is any of the `n + 1` with the same probability."""
    n, trials = 9, 4000
    draws = np.random.default_rng(0).gumbel(size=(trials, n + 1))
    p_values = [calibrate(draw[:n]).p_values(draw[n:])[0] for draw in draws]
    ranks = np.round(np.multiply(p_values, n + 1)).astype(int)
    np.testing.assert_allclose(ranks / (n + 1), p_values, rtol=1e-12)
    counts = np.bincount(ranks, minlength=n + 2)[1:]
    deviations = (counts - trials / (n + 1)) / np.sqrt(trials / (n + 1) * (1 - 1 / (n + 1)))
    assert np.abs(deviations).max() < 4.5


def test_realised_rate_has_the_stated_distribution() -> None:
    """The true rate of a threshold, known from the distribution of the scores, over draws of the held-out images."""
    n, rate, trials = 40, 0.1, 2000
    rng = np.random.default_rng(1)
    thresholds = [calibrate(rng.gumbel(size=n)).threshold(rate) for _ in range(trials)]
    realised = scipy.stats.gumbel_r.sf(thresholds)
    expected = calibrate(range(n)).realised_rate(rate, confidence=0.9)
    # The mean is (n + 1 - k) / (n + 1), with k = ceil(41 * 0.9) = 37.
    assert expected.value == 4 / 41
    assert abs(realised.mean() - expected.value) < 4 * realised.std() / np.sqrt(trials)
    for quantile, end in ((0.05, expected.low), (0.95, expected.high)):
        share = np.mean(realised <= end)
        assert abs(share - quantile) < 4 * np.sqrt(quantile * (1 - quantile) / trials)


def test_ties_keep_the_rate() -> None:
    """Scores of few values: the realised rate is lower than wanted on average, and stays in the interval."""
    n, rate, trials = 30, 0.2, 1000
    rng = np.random.default_rng(2)
    probabilities = np.array([0.5, 0.2, 0.2, 0.1])
    calibrations = [calibrate(rng.choice(4, size=n, p=probabilities)) for _ in range(trials)]
    above = np.append(np.cumsum(probabilities[::-1])[::-1][1:], 0.0)
    realised = above[[int(calibration.threshold(rate)) for calibration in calibrations]]
    limit = calibrations[0].realised_rate(rate, confidence=0.9)
    assert realised.mean() < limit.value - 4 * realised.std() / np.sqrt(trials)
    assert np.mean(realised > limit.high) < 0.05 + 4 * np.sqrt(0.05 * 0.95 / trials)


def test_realised_rate_narrows_with_images_and_widens_with_confidence() -> None:
    few, many = calibrate(range(39)), calibrate(range(3999))
    assert many.realised_rate(0.05).high < few.realised_rate(0.05).high
    assert many.realised_rate(0.05).low > few.realised_rate(0.05).low
    # A Beta distribution of many images is nearly normal, of variance a (1 - a) / (n + 2).
    half = 1.959964 * np.sqrt(0.05 * 0.95 / 4001)
    assert many.realised_rate(0.05).high - many.realised_rate(0.05).low == pytest.approx(2 * half, rel=0.01)
    assert few.realised_rate(0.05, confidence=0.99).high > few.realised_rate(0.05).high
    # With as many images as can support the rate: P(max of n scores is exceeded) ~ Beta(1, n).
    low, high = few.realised_rate(0.025)[1:]
    assert (1 - low) ** 39 == pytest.approx(0.975)
    assert (1 - high) ** 39 == pytest.approx(0.025)


def test_a_rate_that_so_few_images_cannot_support_is_refused() -> None:
    calibration = calibrate(range(50))
    with pytest.raises(
        ValueError, match=r"got false_positive_rate=0.01; expected at least 1/\(50 \+ 1\) = 0.0196 .*99"
    ):
        calibration.threshold(0.01)
    for method in (calibration.realised_rate, calibration.summary, lambda rate: calibration.is_anomalous([1.0], rate)):
        with pytest.raises(ValueError, match="give at least 99 of them"):
            method(0.01)
    assert calibrate(range(99)).threshold(0.01) == 98
    assert calibration.threshold(1 / 51) == 49


@pytest.mark.parametrize("rate", [*RATES, 1e-3, 1e-6])
def test_images_needed_are_enough_and_one_fewer_is_not(rate: float) -> None:
    count = images_needed(rate)
    assert 1 / (count + 1) <= rate
    assert count == 1 or 1 / count > rate
    if count < 2000:
        assert calibrate(range(count)).threshold(rate) >= 0
    if 1 < count < 2000:
        with pytest.raises(ValueError, match=f"give at least {count} of them"):
            calibrate(range(count - 1)).threshold(rate)


def test_the_smallest_rates_want_as_many_images_as_they_say() -> None:
    """Beyond the 53 bits of a float, where counting up would never end."""
    assert images_needed(1e-300) == pytest.approx(1e300)
    assert images_needed(5e-324).bit_length() == 1074


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 5.0, float("nan")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibrate(range(50)).threshold(rate)
    with pytest.raises(ValueError, match="between 0 and 1"):
        images_needed(rate)


def test_confidence_is_a_probability() -> None:
    with pytest.raises(ValueError, match=r"got confidence=95\.0; expected a number between 0 and 1"):
        calibrate(range(50)).realised_rate(0.1, confidence=95.0)


@pytest.mark.parametrize(
    ("scores", "error", "message"),
    [
        ([], ValueError, "no .* scores"),
        ([0.0, np.nan], ValueError, "1 of 2 .* scores .*are NaN"),
        ([0.0, np.inf, -np.inf], ValueError, "2 of 3 .* scores .*are infinite"),
        ([[0.0, 1.0]], ValueError, r"shape \(1, 2\)"),
        (0.0, ValueError, r"shape \(\)"),
        (["low"], TypeError, "dtype <U3"),
        ([True], TypeError, "dtype bool"),
    ],
)
def test_bad_scores_are_refused(scores: list, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        calibrate(np.array(scores))
    with pytest.raises(error, match=message):
        calibrate(range(9)).p_values(np.array(scores))
    with pytest.raises(error, match=message):
        calibrate(range(9)).is_anomalous(np.array(scores), 0.1)


def test_summary_names_threshold_unit_images_and_interval() -> None:
    calibration = calibrate(np.linspace(700, 830, 120))
    low, high = scipy.stats.beta(6, 115).ppf([0.025, 0.975])
    assert calibration.summary(0.05) == (
        f"threshold {sorted(np.linspace(700, 830, 120))[114]:.1f} nats at a false-positive rate of 5 % from 120 "
        f"held-out normal images; the realised rate lies in {100 * low:.1f}-{100 * high:.1f} % with 95 % probability"
    )
    assert calibrate([0.41237, 0.5], unit="").summary(0.7).startswith("threshold 0.4124 at")
    assert "from 1 held-out normal image;" in calibrate([2.0]).summary(0.5)


def test_calibrations_of_the_same_scores_and_unit_are_equal() -> None:
    scores = np.random.default_rng(3).normal(size=20)
    calibration = calibrate(scores, unit="µm")
    same = calibrate(scores[::-1], unit="µm")
    assert same == calibration
    assert hash(same) == hash(calibration)
    assert calibration != calibrate(scores[1:], unit="µm")
    assert calibration != calibrate(scores, unit="nats")


def test_a_calibration_cannot_be_changed() -> None:
    scores = np.array([1.0, 3.0, 2.0])
    calibration = calibrate(scores)
    scores[:] = 0.0
    assert calibration.scores.tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match="read-only"):
        calibration.scores[0] = 5.0
    ascending = np.array([1.0, 2.0])
    direct = Calibration(ascending)
    ascending[:] = 0.0
    assert direct.scores.tolist() == [1.0, 2.0]
    with pytest.raises(TypeError, match="float64"):
        Calibration(np.array([1, 2]))
