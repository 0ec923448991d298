"""The drift test against simulated lines: how often it gives a false alarm, and whether it notices real drift."""

import json

import numpy as np
import pytest
import scipy.stats

from jaxunreg.inspection.betting import first_bets, next_bets
from jaxunreg.inspection.calibration import calibrate
from jaxunreg.inspection.drift import DriftTest, advance, first_state
from jaxunreg.inspection.urn import place

HELD_OUT, EXCEEDING = 50, 2


class Line:
    """Many lines side by side, each with held-out images of its own."""

    def __init__(self, seed: int, lines: int, held_out: int = HELD_OUT, exceeding: int = EXCEEDING) -> None:
        self.rng = np.random.default_rng(seed)
        self.lines, self.exceeding = lines, exceeding
        self.scores = np.sort(self.rng.normal(size=(lines, held_out)), axis=1)
        self.state = first_state(held_out, (lines,))

    def run(self, parts: int, shift: float = 0.0, scale: float = 1.0, defects: float = 0.0) -> None:
        for _ in range(parts):
            score = shift + scale * self.rng.normal(size=self.lines)
            score[self.rng.random(self.lines) < defects] = 100.0
            interval = (self.scores < score[:, None]).sum(axis=1)
            self.state = advance(self.state, interval, self.rng.random(self.lines), self.exceeding)

    def alarmed(self, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        level = np.log(2.0 / alpha)
        return self.state.drift.log_highest >= level, self.state.excess.log_highest >= level


@pytest.mark.parametrize(("held_out", "exceeding"), [(19, 1), (200, 10)])
def test_a_line_without_a_change_alarms_no_more_often_than_promised(held_out, exceeding):
    line = Line(0, 1500, held_out, exceeding)
    line.run(300)
    drift, excess = zip(*(line.alarmed(alpha) for alpha in (0.5, 0.2, 0.05)), strict=True)
    for alpha, one, other in zip((0.5, 0.2, 0.05), drift, excess, strict=True):
        sigma = np.sqrt(alpha * (1 - alpha) / line.lines)
        assert (one | other).mean() <= alpha + 4 * sigma
        for each in (one, other):
            assert each.mean() <= alpha / 2 + 4 * sigma
    # A test that never alarms would keep the promise, too.
    assert drift[0].mean() > 0.05
    assert excess[0].mean() > 0.05


def test_p_values_against_the_held_out_images_alone_would_break_the_promise():
    """The urn accounts for the dependence through the common held-out images."""
    line = Line(1, 400, 19, 1)
    bets = first_bets(2, (line.lines,))
    for _ in range(2000):
        score = line.rng.normal(size=line.lines)
        p = ((line.scores >= score[:, None]).sum(axis=1) + line.rng.random(line.lines)) / 20
        bets = next_bets(bets, 1.0 + np.array([-0.9, 0.9]) * (2.0 * p[:, None] - 1.0))
    alpha = 0.05
    assert (bets.log_highest >= -np.log(alpha)).mean() > alpha + 10 * np.sqrt(alpha * (1 - alpha) / line.lines)


def test_online_p_values_are_uniform_and_independent():
    """On either side of the threshold, and of the part before; the share above follows the chance that is told."""
    rng = np.random.default_rng(2)
    lines, parts = 2000, 30
    scores = np.sort(rng.gumbel(size=(lines, 9)), axis=1)
    counts = np.zeros((lines, 10), np.int64)
    found, surprise = [], []
    for _ in range(parts):
        interval = (scores < rng.gumbel(size=(lines, 1))).sum(axis=1)
        placed = place(counts, interval, rng.random(lines), exceeding=3)
        counts = placed.counts
        found.append(placed.p_value)
        surprise.append(
            (placed.is_above - placed.chance_above) / np.sqrt(placed.chance_above * (1 - placed.chance_above))
        )
    p = np.array(found)
    assert scipy.stats.kstest(p.ravel(), "uniform").pvalue > 1e-5
    for lag in (1, 5):
        correlation = 12 * ((p[:-lag] - 0.5) * (p[lag:] - 0.5)).mean()
        assert abs(correlation) < 4.5 / np.sqrt(p[lag:].size)
        both = (np.array(surprise)[:-lag] * np.array(surprise)[lag:]).mean()
        assert abs(both) < 4.5 / np.sqrt(p[lag:].size)
    assert (counts.sum(axis=1) == parts).all()


@pytest.mark.parametrize("change", [{"shift": 1.5}, {"shift": -1.5}, {"scale": 0.4}])
def test_a_change_of_normal_parts_is_seen(change):
    line = Line(3, 100)
    line.run(200)
    assert line.alarmed(0.01)[0].mean() < 0.05
    line.run(200, **change)
    assert line.alarmed(0.01)[0].mean() > 0.9


def test_a_run_of_defects_is_an_excess_and_no_drift():
    line = Line(4, 400)
    line.run(100)
    line.run(200, defects=0.5)
    drift, excess = line.alarmed(0.2)
    assert excess.all()
    # Half of alpha for each of the two, whatever happens above the threshold.
    assert drift.mean() <= 0.1 + 4 * np.sqrt(0.1 * 0.9 / line.lines)


def test_capital_is_the_mixture_over_the_times_of_a_change():
    factors = np.random.default_rng(5).uniform(0.2, 2.5, (12, 3))
    bets = first_bets(3)
    for step, row in enumerate(factors, 1):
        bets = next_bets(bets, row)
        later = [np.prod(factors[begin:step], axis=0).mean() / ((begin + 1) * (begin + 2)) for begin in range(step)]
        assert np.exp(bets.log_capital) == pytest.approx(sum(later) + 1 / (step + 1), rel=1e-12)


def test_steps_of_the_test_are_those_of_the_urn_and_depend_on_the_seed_alone():
    rng = np.random.default_rng(6)
    held_out, scores = rng.normal(size=40), rng.normal(size=60)
    test = DriftTest(calibrate(held_out), 0.1)
    state = test.init()
    for score in scores:
        before = state.counts.copy()
        state = test.step(state, score)
        assert (state.counts - before).sum() == 1
    again = test.init()
    for score in scores:
        again = test.step(again, score)
    np.testing.assert_array_equal(state.drift.log_bets, again.drift.log_bets)
    expected = np.bincount(np.searchsorted(np.sort(held_out), scores), minlength=41)
    np.testing.assert_array_equal(state.counts, expected)
    reading = test.reading(state)
    assert (reading.parts, reading.above) == (60, int((scores > test.calibration.threshold(0.1)).sum()))
    assert reading.expected_above == pytest.approx(60 * 4 / 41)


def test_a_score_that_ties_lies_at_any_place_among_its_equals():
    """Over the seeds, which draw the order of scores that are equal, its rank is uniform."""
    held_out, seeds = [0.0, *[1.0] * 5, 2.0], 600
    counts = np.zeros(8)
    for seed in range(seeds):
        test = DriftTest(calibrate(held_out), 0.2, seed=seed)
        counts += test.step(test.init(), 1.0).counts
    assert counts[[0, 7]].sum() == 0
    assert np.abs(counts[1:7] - seeds / 6).max() < 4.5 * np.sqrt(seeds / 6 * 5 / 6)


def test_a_state_survives_json_and_belongs_to_its_calibration():
    test = DriftTest(calibrate(range(30)), 0.1)
    state = test.init()
    for score in (3.5, 29.5, 12.0):
        state = test.step(state, score)
    restored = test.restore(json.loads(json.dumps(test.dump(state), allow_nan=False)))
    for one, other in zip((test.step(state, 5.0), test.step(restored, 5.0)), (state, state), strict=True):
        assert one.drift.steps == other.drift.steps + 1
    np.testing.assert_array_equal(test.step(state, 5.0).drift.log_bets, test.step(restored, 5.0).drift.log_bets)
    for other in (DriftTest(calibrate(range(31)), 0.1), DriftTest(calibrate(range(30)), 0.2)):
        with pytest.raises(ValueError, match="got a drift state of another calibration; .* begin again"):
            other.restore(test.dump(state))
    for data in ({}, {**test.dump(state), "counts": "many"}, {**test.dump(state), "drift": {"log_bets": []}}):
        with pytest.raises(ValueError, match="got a drift state that cannot be read"):
            test.restore(data)
    with pytest.raises(ValueError, match="infinite"):
        test.step(state, np.inf)
    with pytest.raises(ValueError, match="got alpha=0.0; expected a number between 0 and 1"):
        DriftTest(calibrate(range(30)), 0.1, alpha=0.0)


def test_the_reading_tells_drift_from_a_run_of_defects_in_words():
    test = DriftTest(calibrate(np.random.default_rng(7).normal(size=100)), 0.05)

    def after(scores: np.ndarray) -> str:
        state = test.init()
        for score in scores:
            state = test.step(state, float(score))
        return test.reading(state).sentence

    rng = np.random.default_rng(8)
    normal = rng.normal(size=200)
    assert after(normal[:50]).startswith("no sign of drift (")
    assert "run of defects" in after(np.append(normal[:50], np.full(20, 50.0)))
    assert "the two cannot be distinguished" in after(np.full(30, 50.0))
    assert after(rng.normal(size=120) * 0.3).startswith("normal parts no longer look like the held-out ones")
    assert "the line has probably drifted" in after(np.append(normal, rng.normal(size=150) + 1.5))
