"""The metrics against scikit-learn, scipy and closed forms."""

import io
import time

import numpy as np
import PIL.Image
import pytest
import scipy.stats
import sklearn.metrics

from jaxunreg.metrics.boxes import box_statistics
from jaxunreg.metrics.explained import explained_by_class, explained_by_complexity
from jaxunreg.metrics.interval import Interval
from jaxunreg.metrics.png_size import complexity
from jaxunreg.metrics.ranking import average_precision, roc_auc, roc_curve


def reference_auc(normal: np.ndarray, anomalous: np.ndarray) -> float:
    truth = np.repeat([0, 1], [len(normal), len(anomalous)])
    return sklearn.metrics.roc_auc_score(truth, np.concatenate([normal, anomalous]))


@pytest.mark.parametrize("decimals", [0, 1, 8], ids=["many ties", "some ties", "no ties"])
def test_auc_is_scikit_learns(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    normal = np.round(rng.normal(size=300), decimals)
    anomalous = np.round(rng.normal(0.7, 1.5, size=211), decimals)
    assert roc_auc(normal, anomalous, bootstrap=1).value == pytest.approx(reference_auc(normal, anomalous), abs=1e-12)


def test_auc_counts_pairs_and_ties_half() -> None:
    normal, anomalous = np.array([1, 2, 2, 5]), np.array([2, 3, 0])
    wins = sum((a > n) + 0.5 * (a == n) for a in anomalous for n in normal)
    assert roc_auc(normal, anomalous, bootstrap=1).value == wins / 12


def test_auc_follows_order_alone() -> None:
    rng = np.random.default_rng(0)
    normal, anomalous = rng.normal(size=100), rng.normal(0.5, size=80)
    expected = roc_auc(normal, anomalous)
    assert roc_auc(np.exp(normal), np.exp(anomalous)) == expected
    assert roc_auc(-anomalous, -normal, bootstrap=1).value == pytest.approx(expected.value, abs=1e-12)
    assert roc_auc(anomalous, normal, bootstrap=1).value == pytest.approx(1 - expected.value, abs=1e-12)


def test_auc_orders_infinities() -> None:
    assert roc_auc([-np.inf, 0.0], [np.inf, 1.0], bootstrap=1).value == 1.0
    assert roc_auc([np.inf], [np.inf], bootstrap=1).value == 0.5


def test_perfect_separation_and_constant_score_have_no_width() -> None:
    assert roc_auc(np.arange(10), np.arange(10, 15)) == Interval(1.0, 1.0, 1.0)
    assert roc_auc(np.zeros(10), np.zeros(15)) == Interval(0.5, 0.5, 0.5)


def test_resamples_have_the_distribution_of_aucs_of_drawn_images() -> None:
    """The interval ends where those of a bootstrap do that draws images and asks scikit-learn each time."""
    rng = np.random.default_rng(1)
    normal, anomalous = rng.normal(size=60).round(1), rng.normal(0.8, size=40).round(1)
    ours = roc_auc(normal, anomalous, bootstrap=2000)
    drawn = [reference_auc(rng.choice(normal, 60), rng.choice(anomalous, 40)) for _ in range(400)]
    # A quantile q of n draws lies within k standard errors of the other's in rank: sqrt(q (1 - q) / n).
    for q, end in ((0.025, ours.low), (0.975, ours.high)):
        rank = np.mean(np.asarray(drawn) <= end)
        assert abs(rank - q) < 5 * np.sqrt(q * (1 - q) * (1 / 400 + 1 / 2000))


@pytest.mark.parametrize("paired", [False, True])
def test_interval_covers_the_known_auc(paired: bool) -> None:
    """Two normal distributions a shift d apart have AUC Phi(d / sqrt 2), correlated or not."""
    shift, correlation, trials, confidence = 0.8, 0.9 if paired else 0.0, 100, 0.9
    truth = scipy.stats.norm.cdf(shift / np.sqrt(2))
    rng = np.random.default_rng(2)
    covered = 0
    for trial in range(trials):
        normal = rng.normal(size=150)
        anomalous = shift + correlation * normal + np.sqrt(1 - correlation**2) * rng.normal(size=150)
        low, high = roc_auc(normal, anomalous, paired=paired, bootstrap=150, confidence=confidence, seed=trial)[1:]
        covered += low <= truth <= high
    assert abs(covered / trials - confidence) < 4 * np.sqrt(confidence * (1 - confidence) / trials)


def test_pairs_narrow_the_interval_as_their_correlation_says() -> None:
    """The variance of the AUC of pairs is DeLong's, with the covariance of the two placements."""
    rng = np.random.default_rng(3)
    normal = rng.normal(size=400)
    anomalous = normal + 0.5 + 0.3 * rng.normal(size=400)
    wins = (anomalous[:, None] > normal).astype(float)
    of_anomalous, of_normal = wins.mean(axis=1), wins.mean(axis=0)
    independent = (of_anomalous.var() + of_normal.var()) / 400
    paired = (of_anomalous + of_normal).var() / 400
    assert paired < 0.5 * independent
    for is_paired, variance in ((False, independent), (True, paired)):
        interval = roc_auc(normal, anomalous, paired=is_paired, bootstrap=2000, confidence=0.6826895)
        # One standard error to either side; its own relative error over 2,000 resamples is about 3 %.
        assert (interval.high - interval.low) / 2 == pytest.approx(np.sqrt(variance), rel=0.12)
        assert interval.low < interval.value < interval.high


def test_confidence_widens_and_seed_repeats() -> None:
    rng = np.random.default_rng(4)
    normal, anomalous = rng.normal(size=100), rng.normal(1.0, size=100)
    narrow, wide = (roc_auc(normal, anomalous, confidence=c) for c in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert roc_auc(normal, anomalous, seed=7) == roc_auc(normal, anomalous, seed=7)
    assert roc_auc(normal, anomalous, seed=7) != roc_auc(normal, anomalous, seed=8)


def test_arguments_are_left_as_they_were_and_order_of_images_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    normal, anomalous = rng.normal(size=50), rng.normal(size=50)
    before = normal.copy(), anomalous.copy()
    value = roc_auc(normal, anomalous).value
    np.testing.assert_array_equal((normal, anomalous), before)
    order = rng.permutation(50)
    assert roc_auc(normal[order], anomalous[order[::-1]]).value == value


def test_a_thousand_resamples_of_the_official_test_set_take_seconds() -> None:
    rng = np.random.default_rng(6)
    normal, anomalous = rng.normal(size=26_032), rng.normal(1.0, size=26_032)
    start = time.process_time()
    interval = roc_auc(normal, anomalous, paired=True)
    assert time.process_time() - start < 20
    truth = scipy.stats.norm.cdf(1 / np.sqrt(2))
    assert abs(interval.value - truth) < 5 * (interval.high - interval.low) / 3.92


def reference_precision(normal: np.ndarray, anomalous: np.ndarray) -> float:
    truth = np.repeat([0, 1], [len(normal), len(anomalous)])
    return sklearn.metrics.average_precision_score(truth, np.concatenate([normal, anomalous]))


@pytest.mark.parametrize("decimals", [0, 1, 8], ids=["many ties", "some ties", "no ties"])
def test_resamples_have_the_average_precision_of_drawn_images(decimals: int) -> None:
    """One resample and no width: the interval is scikit-learn's figure on the images that the seed draws."""
    rng = np.random.default_rng(decimals)
    normal, anomalous = rng.normal(size=70).round(decimals), rng.normal(0.7, 1.5, size=70).round(decimals)
    for seed in range(5):
        ours = average_precision(normal, anomalous, bootstrap=1, seed=seed)
        assert ours.value == pytest.approx(reference_precision(normal, anomalous), abs=1e-12)
        draw = np.random.default_rng(seed)
        first, second = draw.integers(70, size=70), draw.integers(70, size=70)
        assert ours.low == pytest.approx(reference_precision(normal[first], anomalous[second]), abs=1e-12)
        assert ours.high == ours.low


def of_others(normal: np.ndarray, anomalous: np.ndarray, drawn: np.ndarray) -> tuple[float, float]:
    """AUC and average precision of drawn pairs, image by image: none is compared with its own copies."""
    wins, precisions, n = [], [], len(drawn)
    for i in drawn:
        others = drawn[drawn != i]
        wins += [(anomalous[i] > normal[j]) + 0.5 * (anomalous[i] == normal[j]) for j in others]
        true, false = np.mean(anomalous[others] >= anomalous[i]), np.mean(normal[others] >= anomalous[i])
        precisions.append((1 + (n - 1) * true) / (1 + (n - 1) * true + n * false))
    return float(np.mean(wins)), float(np.mean(precisions))


@pytest.mark.parametrize("decimals", [0, 1, 8], ids=["many ties", "some ties", "no ties"])
def test_no_image_is_compared_with_its_own_copy(decimals: int) -> None:
    rng = np.random.default_rng(decimals)
    normal = rng.normal(size=30)
    anomalous = (normal + rng.normal(0.3, 0.5, size=30)).round(decimals)
    normal = normal.round(decimals)
    for seed in range(5):
        drawn = np.random.default_rng(seed).integers(30, size=30)
        for k, metric in enumerate((roc_auc, average_precision)):
            ours = metric(normal, anomalous, paired=True, bootstrap=1, seed=seed)
            assert ours.value == pytest.approx(of_others(normal, anomalous, np.arange(30))[k], abs=1e-12)
            assert ours.low == pytest.approx(of_others(normal, anomalous, drawn)[k], abs=1e-12)
    for metric in (roc_auc, average_precision):
        assert metric(np.zeros(9), np.zeros(9), paired=True) == Interval(0.5, 0.5, 0.5)
        # Two images are drawn alone half of the time, and then drawn anew.
        assert metric([0.0, 1.0], [2.0, 3.0], paired=True, bootstrap=50) == Interval(1.0, 1.0, 1.0)
        with pytest.raises(ValueError, match="got 1 image with paired=True; expected at least 2"):
            metric([0.0], [1.0], paired=True)


def test_the_interval_of_few_pairs_covers_the_known_auc() -> None:
    """An image is nearly always above its own copy; compared with it, 71 % of these intervals held the truth."""
    truth, trials = scipy.stats.norm.cdf(0.3 / np.sqrt(2)), 150
    rng = np.random.default_rng(8)
    covered, middles = 0, []
    for trial in range(trials):
        normal = rng.normal(size=40)
        anomalous = 0.3 + 0.99 * normal + np.sqrt(1 - 0.99**2) * rng.normal(size=40)
        _, low, high = roc_auc(normal, anomalous, paired=True, bootstrap=200, seed=trial)
        covered += low <= truth <= high
        middles.append((low + high) / 2)
    # A percentile interval of 40 images covers a little less than it says.
    assert abs(covered / trials - 0.94) < 4 * np.sqrt(0.94 * 0.06 / trials)
    assert abs(np.mean(middles) - truth) < 4 * np.std(middles) / np.sqrt(trials) + 0.002


def test_average_precision_of_a_list_worked_by_hand() -> None:
    """Found at ranks 1, 3 and, in a tie of two, 4: 1/3 (1/1 + 2/3 + 3/5)."""
    ours = average_precision([8.0, 6.0, 1.0], [9.0, 7.0, 6.0])
    assert ours.value == pytest.approx((1 + 2 / 3 + 3 / 5) / 3, abs=1e-12)
    assert average_precision([-np.inf, 0.0], [np.inf, 1.0]) == Interval(1.0, 1.0, 1.0)
    # A score without information: the share of anomalous images, whoever is drawn.
    assert average_precision(np.zeros(30), np.zeros(10)) == Interval(0.25, 0.25, 0.25)


def test_average_precision_interval_covers_its_expectation() -> None:
    """What many fresh test sets average lies in the interval of one, as often as its confidence says."""
    rng = np.random.default_rng(20)

    def images() -> tuple[np.ndarray, np.ndarray]:
        return rng.normal(size=200), rng.normal(1.5, size=100)

    truth = np.mean([reference_precision(*images()) for _ in range(400)])
    covered = [
        low <= truth <= high for _, low, high in (average_precision(*images(), bootstrap=150) for _ in range(80))
    ]
    # 4 sigma of 80 trials at 95 %, and 3 % for a percentile interval of 100 images.
    assert abs(np.mean(covered) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 80) + 0.03


def test_roc_curve_has_the_area_and_the_ends() -> None:
    rng = np.random.default_rng(7)
    normal, anomalous = rng.normal(size=200).round(1), rng.normal(0.6, size=150).round(1)
    fpr, tpr = roc_curve(normal, anomalous)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(tpr) >= 0).all()
    area = np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2)
    assert area == pytest.approx(roc_auc(normal, anomalous, bootstrap=1).value, abs=1e-12)


def test_every_corner_of_the_roc_curve_belongs_to_a_threshold() -> None:
    rng = np.random.default_rng(8)
    normal, anomalous = np.append(rng.normal(size=20), np.inf), np.append(rng.normal(1.0, size=20), -np.inf)
    thresholds = np.concatenate([normal, anomalous, [np.nan]])
    reachable = {(np.mean(normal >= t), np.mean(anomalous >= t)) for t in thresholds}
    curve = roc_curve(normal, anomalous)
    assert set(zip(curve.fpr.tolist(), curve.tpr.tolist(), strict=True)) <= reachable


@pytest.mark.parametrize("effect", [0.0, 0.3, 5.0])
def test_explained_by_class_is_the_f_statistic_in_another_dress(effect: float) -> None:
    rng = np.random.default_rng(9)
    labels = rng.choice(["one", "seven", "eight"], size=500, p=[0.6, 0.3, 0.1])
    scores = rng.normal(size=500) + effect * (labels == "eight") - 8000.0
    f = scipy.stats.f_oneway(*(scores[labels == label] for label in np.unique(labels))).statistic
    expected = f * 2 / (f * 2 + 500 - 3)
    assert explained_by_class(scores, labels) == pytest.approx(expected, rel=1e-9)


def test_explained_by_class_of_nothing_is_its_stated_expectation() -> None:
    rng = np.random.default_rng(10)
    labels = np.repeat(np.arange(10), 20)
    shares = [explained_by_class(rng.normal(size=200), labels) for _ in range(300)]
    # Under no effect the share is Beta((k - 1) / 2, (n - k) / 2).
    law = scipy.stats.beta(9 / 2, 190 / 2)
    assert law.mean() == pytest.approx(9 / 199)
    assert abs(np.mean(shares) - law.mean()) < 4 * law.std() / np.sqrt(300)


def test_explained_by_class_at_its_ends_and_under_scale() -> None:
    labels = np.arange(300) % 10
    assert explained_by_class(labels * 0.1, labels) == pytest.approx(1.0, abs=1e-12)
    assert explained_by_class(labels * 0.1, labels) <= 1.0
    assert explained_by_class(np.full(300, -13077.55), labels) == 0.0
    assert explained_by_class(np.random.default_rng(0).normal(size=300), np.zeros(300, int)) < 1e-30
    scores = np.random.default_rng(11).normal(size=300) + labels
    assert explained_by_class(7.0 - 3.0 * scores, 9 - labels) == pytest.approx(
        explained_by_class(scores, labels), rel=1e-12
    )


def textured(n: int, seed: int) -> np.ndarray:
    """Gray images of rising noise."""
    noise = np.random.default_rng(seed).normal(size=(n, 16, 16, 1))
    return np.clip(np.round(128 + np.arange(n).reshape(n, 1, 1, 1) * noise), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_complexity_is_the_size_of_a_png_that_reads_back(channels: int) -> None:
    images = np.repeat(textured(30, 0), channels, axis=3)
    sizes = complexity(images)
    assert (sizes.dtype, sizes.shape) == (np.int64, (30,))
    # Noise of sigma costs about log2(sigma sqrt(2 pi e)) bits a pixel, and a flat image next to nothing.
    assert scipy.stats.spearmanr(sizes, np.arange(30)).statistic > 0.98
    assert sizes[0] < 100
    assert sizes[29] > 16 * 16 * np.log2(29 * np.sqrt(2 * np.pi * np.e)) / 8 * 0.9
    file = io.BytesIO()
    picture = PIL.Image.fromarray(images[29].squeeze())
    picture.save(file, format="PNG", compress_level=6)
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(file)).reshape(images[29].shape), images[29])
    assert sizes[29] == len(file.getvalue())


def test_complexity_of_floats_mixed_sizes_and_company() -> None:
    images = textured(5, 1)
    sizes = complexity(images)
    np.testing.assert_array_equal(complexity((images / 255).astype(np.float32)), sizes)
    np.testing.assert_array_equal(complexity([images[3, :8], images[3], images[1]])[1:], sizes[[3, 1]])
    assert complexity([images[3, :8]])[0] < sizes[3]


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ([], ValueError, "no images"),
        (np.zeros((2, 4, 4, 2), np.uint8), ValueError, "2 channels"),
        (np.zeros((2, 4, 4), np.uint8), ValueError, "height, width, channels"),
        (np.full((2, 4, 4, 1), 2.0), ValueError, r"expected \[0, 1\]"),
        (np.zeros((2, 4, 4, 1), np.int64), TypeError, "int64"),
    ],
)
def test_complexity_wants_images(images, error, message) -> None:
    with pytest.raises(error, match=message):
        complexity(images)


@pytest.mark.parametrize("decimals", [0, 8], ids=["ties", "no ties"])
def test_rank_correlation_of_drawn_images_is_scipys(decimals: int) -> None:
    rng = np.random.default_rng(21)
    sizes = rng.integers(100, 120, size=60)
    scores = np.round(0.3 * sizes + rng.normal(size=60) * 2, decimals)
    for seed in range(5):
        rho, share = explained_by_complexity(scores, sizes, bootstrap=1, seed=seed)
        expected = scipy.stats.spearmanr(scores, sizes).statistic
        assert rho.value == pytest.approx(expected, abs=1e-12)
        assert share == pytest.approx(expected**2, abs=1e-12)
        drawn = np.random.default_rng(seed).integers(60, size=60)
        assert rho.low == rho.high == pytest.approx(scipy.stats.spearmanr(scores[drawn], sizes[drawn]).statistic)


def test_rank_correlation_interval_is_as_wide_as_theory_says() -> None:
    """Of two independent samples rho has variance 1 / (n - 1)."""
    rng = np.random.default_rng(22)
    rho, share = explained_by_complexity(rng.normal(size=400), rng.normal(size=400), confidence=0.6826895)
    assert (rho.high - rho.low) / 2 == pytest.approx(1 / np.sqrt(399), rel=0.15)
    assert abs(rho.value) < 4 / np.sqrt(399)
    assert share == rho.value**2


def test_rank_correlation_of_functions_of_complexity_and_of_constants() -> None:
    sizes = np.arange(50)
    assert explained_by_complexity(np.exp(sizes / 10), sizes).rho == pytest.approx((1.0, 1.0, 1.0))
    assert explained_by_complexity(-np.sqrt(sizes), sizes).rho == pytest.approx((-1.0, -1.0, -1.0))
    for scores, complexities in ((np.full(50, 0.1), sizes), (sizes, np.full(50, 7)), ([3.0], [4.0])):
        assert explained_by_complexity(scores, complexities) == (Interval(0.0, 0.0, 0.0), 0.0)
    assert explained_by_complexity([1.0, 2.0], [5, 6]).share == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("scores", "complexities", "error", "message"),
    [
        ([1.0, np.inf], [1, 2], ValueError, "1 of 2 given scores that are infinite"),
        ([1.0, 2.0], [1.0, np.nan], ValueError, "1 of 2 complexity scores that are NaN"),
        ([1.0, 2.0], [1], ValueError, "2 scores and 1 complexities"),
        ([], [], ValueError, "no given scores"),
        (["a", "b"], [1, 2], TypeError, "dtype <U1"),
    ],
)
def test_rank_correlation_refuses_what_has_no_rank(scores, complexities, error, message) -> None:
    with pytest.raises(error, match=message):
        explained_by_complexity(scores, complexities)


def test_box_statistics_are_scipys_percentiles() -> None:
    rng = np.random.default_rng(12)
    labels = rng.integers(0, 4, size=400) * 2
    scores = rng.gumbel(size=400) + labels
    boxes = box_statistics(scores, labels)
    np.testing.assert_array_equal(boxes.labels, [0, 2, 4, 6])
    for i, label in enumerate(boxes.labels):
        members = scores[labels == label] - np.median(scores)
        expected = [scipy.stats.scoreatpercentile(members, q) for q in (5, 25, 50, 75, 95)]
        np.testing.assert_allclose([field[i] for field in boxes[1:]], expected, rtol=1e-12)
    shifted = box_statistics(scores, labels, center=0.0)
    np.testing.assert_allclose(shifted.median - boxes.median, np.median(scores))


@pytest.mark.parametrize(
    ("normal", "anomalous", "error", "message"),
    [
        ([0.0, np.nan], [1.0], ValueError, "1 of 2 normal scores that are NaN"),
        ([0.0], [np.nan, np.nan], ValueError, "2 of 2 anomalous scores that are NaN"),
        ([], [1.0], ValueError, "no normal scores"),
        ([0.0], [], ValueError, "no anomalous scores"),
        ([[0.0]], [1.0], ValueError, r"shape \(1, 1\)"),
        (0.0, [1.0], ValueError, r"shape \(\)"),
        (["low"], [1.0], TypeError, "dtype <U3"),
        ([True], [1.0], TypeError, "dtype bool"),
    ],
)
def test_bad_scores_are_refused(normal: list, anomalous: list, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        roc_auc(np.array(normal), np.array(anomalous))
    with pytest.raises(error, match=message):
        roc_curve(np.array(normal), np.array(anomalous))
    with pytest.raises(error, match=message):
        average_precision(np.array(normal), np.array(anomalous))


def test_masked_scores_are_refused() -> None:
    scores = np.ma.masked_equal(np.arange(3.0), 1)
    for metric in (roc_auc, roc_curve, average_precision):
        with pytest.raises(ValueError, match="got anomalous scores of which 1 of 3 values are masked"):
            metric(np.arange(3.0), scores)
    for statistic in (explained_by_class, box_statistics):
        with pytest.raises(ValueError, match="labels of which 1 of 3 values are masked"):
            statistic(np.arange(3.0), np.ma.masked_equal([0, 1, 2], 1))
    # Where nothing is masked, an array is what it seems.
    assert roc_auc(np.arange(3.0), np.ma.masked_equal(np.arange(3.0), 9)) == roc_auc(np.arange(3.0), np.arange(3.0))


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bootstrap": 2.5}, r"bootstrap=2\.5 of type float; expected an integer"),
        ({"seed": -1}, r"seed=-1; expected at least 0"),
        ({"paired": True}, "3 normal and 2 anomalous"),
        ({"bootstrap": 0}, "bootstrap=0"),
        ({"confidence": 0.0}, r"confidence=0\.0"),
        ({"confidence": 95.0}, r"confidence=95\.0"),
    ],
)
def test_bad_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        roc_auc(np.arange(3.0), np.arange(2.0), **options)
    with pytest.raises((ValueError, TypeError), match=message):
        average_precision(np.arange(3.0), np.arange(2.0), **options)
    if "paired" not in options:
        with pytest.raises((ValueError, TypeError), match=message):
            explained_by_complexity(np.arange(3.0), np.arange(3.0), **options)


@pytest.mark.parametrize("statistic", [explained_by_class, box_statistics])
@pytest.mark.parametrize(
    ("scores", "labels", "error", "message"),
    [
        ([1.0, np.inf], [0, 1], ValueError, "1 of 2 given scores that are infinite"),
        ([1.0, np.nan], [0, 1], ValueError, "NaN"),
        ([], [], ValueError, "no given scores"),
        ([1.0, 2.0], [0], ValueError, r"labels of shape \(1,\) for scores of shape \(2,\)"),
        ([1.0, 2.0], [[0, 1]], ValueError, r"labels of shape \(1, 2\)"),
        ([1.0, 2.0], [0.0, 1.0], TypeError, "labels of dtype float64"),
    ],
)
def test_bad_labels_are_refused(statistic, scores, labels, error, message) -> None:
    with pytest.raises(error, match=message):
        statistic(np.array(scores), np.array(labels, dtype=None if labels else int))
