"""A threshold from more good parts, and the words for what it promises, by simulation."""

import dataclasses

import jax
import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg.features import WhiteningConfig, fit_whitening, wrap
from jaxunreg.inspection import RegionToTell, promises, recalibrate_detector
from jaxunreg.inspection.calibration import calibrate
from jaxunreg.inspection.recalibration import compared

SIZE, STRIDE = (32, 48), 8


def images(seed: int, count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(60, 120, (count, *SIZE, 3), np.uint8))


@pytest.fixture(scope="module")
def network():
    return wrap(lambda weights, batch: batch[:, ::STRIDE, ::STRIDE], (), name="thinned")


@pytest.fixture(scope="module")
def detector(network) -> ju.AnomalyDetector:
    learned = jax.numpy.asarray(np.stack(images(0, 30)), np.float32) / np.float32(255)
    whitening = fit_whitening(network(learned), WhiteningConfig(per_place=False))
    scorer = ju.scoring.FeatureScorer(network, jax.tree.map(jax.numpy.asarray, whitening), SIZE, channels=3)
    half = np.zeros(SIZE, bool)
    half[:, 24:] = True
    return ju.calibrate_detector(
        scorer, images(1, 39), stride=STRIDE, top_k=2, named_regions={"right": RegionToTell(half)}
    )


def test_a_calibration_on_more_parts_is_that_of_all_of_them(detector):
    found, told = recalibrate_detector(detector, images(2, 60), rate=0.02, progress=False)
    together = ju.calibrate_detector(
        detector.scorer,
        [*images(1, 39), *images(2, 60)],
        stride=STRIDE,
        top_k=2,
        false_positive_rate=0.02,
        named_regions={"right": RegionToTell(detector.named_regions[0].mask, 0.05)},
    )
    assert found.calibration == together.calibration
    assert found.threshold == together.threshold == told.threshold
    assert found.pixel_level() == together.pixel_level()
    assert found.named_regions[0].calibration("m") == together.named_regions[0].calibration("m")
    assert found.record["calibrated_on"] == 99
    assert found.record["recalibrations"][0]["images"] == told.added == 60
    assert told.threshold_before == detector.threshold
    assert told.above == sum(verdict.score > detector.threshold for verdict in detector.scores(images(2, 60)))
    assert told.warnings == ()
    assert detector.calibration.count == 39


def test_only_the_new_parts_count_on_request_and_copies_count_once(detector):
    new = images(3, 25)
    found, _ = recalibrate_detector(detector, [*new, new[0]], only_new=True, progress=False)
    assert found.calibration.count == 25
    assert found.pixel_levels != detector.pixel_levels
    with pytest.raises(ValueError, match="got 5 held-out normal images; expected at least 19"):
        recalibrate_detector(detector, images(3, 5), only_new=True, progress=False)
    with pytest.raises(ValueError, match="got images of 1 channel; expected 3, as the detector has"):
        recalibrate_detector(detector, [image[..., :1] for image in new], progress=False)
    for wrong in ([], [image[:8] for image in new]):
        with pytest.raises(ValueError, match=r"expected (normal images|at least 16x16)"):
            recalibrate_detector(detector, wrong, progress=False)


def test_a_detector_that_knows_no_highest_pixels_learns_them(detector):
    old = dataclasses.replace(detector, pixel_peaks=None)
    found, _ = recalibrate_detector(old, images(4, 30), progress=False)
    assert found.pixel_peaks is not None
    assert {len(peaks) for peaks in found.pixel_peaks.values()} == {30}
    assert found.calibration.count == 69


def test_a_threshold_on_all_good_parts_keeps_its_rate():
    """Over draws: of 40 parts, 60 more as they come, and one to be judged."""
    rng, rate, trials = np.random.default_rng(0), 0.05, 4000
    scores = rng.gumbel(size=(trials, 101))
    k = int(np.ceil(101 * (1 - rate)))
    share = np.mean(scores[:, 100] > np.sort(scores[:, :100], axis=1)[:, k - 1])
    assert abs(share - (101 - k) / 101) < 4 * np.sqrt(rate * (1 - rate) / trials)
    calibration = calibrate(scores[0, :100])
    assert calibration.threshold(rate) == np.sort(scores[0, :100])[k - 1]


def test_false_alarms_alone_only_raise_the_threshold_and_parts_that_passed_break_the_promise():
    """What the warnings say, and that they come."""
    rng, rate, trials, seen = np.random.default_rng(1), 0.1, 300, {"alarms": 0, "passed": 0, "all": 0}
    rates: dict[str, list[float]] = {"before": [], "alarms": [], "passed": [], "all": []}
    fresh = rng.normal(size=20_000)
    for _ in range(trials):
        before = calibrate(rng.normal(size=60))
        stream = rng.normal(size=200)
        told = before.is_anomalous(stream, rate)
        rates["before"].append(float(np.mean(fresh > before.threshold(rate))))
        for name, chosen in (("alarms", stream[told]), ("passed", stream[~told]), ("all", stream)):
            if not len(chosen):
                continue
            after = calibrate(np.concatenate([before.scores, chosen]))
            rates[name].append(float(np.mean(fresh > after.threshold(rate))))
            found = compared(before, rate, chosen, after.threshold(rate), only_new=False)
            seen[name] += bool(found.warnings)
            if name == "alarms":
                assert after.threshold(rate) >= before.threshold(rate)
    error = {name: 4 * np.std(values) / np.sqrt(len(values)) for name, values in rates.items()}
    assert abs(np.mean(rates["all"]) - rate) < error["all"] + 1 / 60
    assert np.mean(rates["alarms"]) < rate - error["alarms"] - 0.03
    assert np.mean(rates["passed"]) > rate + error["passed"] + 0.02
    # Parts as they come are warned of as often as chance has it: once in 1,000 for each of three tests.
    assert seen["all"] <= 6
    assert seen["alarms"] > 0.9 * trials
    assert seen["passed"] > 0.5 * trials


def test_the_warnings_say_what_is_no_longer_promised():
    before = calibrate(np.random.default_rng(2).normal(size=100))
    high, low = np.full(20, 9.0), np.full(500, 0.0)
    told = {
        name: compared(before, 0.05, scores, threshold, only_new=only_new).warnings
        for name, scores, threshold, only_new in (
            ("alarms", high, 9.0, False),
            ("lower", high, -9.0, False),
            ("alone", high, 9.0, True),
            ("passed", low, 0.0, False),
            ("other", np.random.default_rng(3).normal(size=200) * 0.1 + 0.9, 1.0, True),
        )
    }
    assert "20 of the 20 good parts are above the threshold before, where about 0.99" in told["alarms"][0]
    assert "false alarms are no more frequent than before" in told["alarms"][0]
    assert "nobody knows which it is" in told["lower"][0]
    assert "promises nothing of all the others" in told["alone"][0]
    assert "the threshold is too low" in told["passed"][0]
    shifted = compared(before, 0.05, np.append(np.full(60, 0.8), [9.0] * 4), 1.0, only_new=False)
    assert "the line may have changed" in shifted.warnings[0]


def test_all_that_a_detector_promises_is_told(detector):
    told = promises(dataclasses.replace(detector, review_rate=0.2, ignored=np.eye(2, 3, dtype=bool)))
    assert told[0] == detector.summary()
    assert "at most 20 % of normal images are reviewed or rejected" in told[1]
    assert told[2] == "33.3 % of the image is ignored"
    assert told[3].startswith("region right: threshold ")
    assert told[4].startswith("as a whole or by any region at most 10 % of normal images are called anomalous; of the")
