"""How well a score separates anomalies from normal images, and how much of it is the image's class or complexity."""

import io
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike

from jaxunreg.images import check_images


class Interval(NamedTuple):
    """An estimate with its confidence interval.

    Attributes:
      value: the estimate.
      low: lower end of the interval.
      high: upper end of the interval.
    """

    value: float
    low: float
    high: float


class Roc(NamedTuple):
    """A receiver operating characteristic, from (0, 0) to (1, 1).

    Attributes:
      fpr: false positive rate, float64 `[points]`, ascending.
      tpr: true positive rate, float64 `[points]`, ascending.
    """

    fpr: np.ndarray
    tpr: np.ndarray


class ComplexityShare(NamedTuple):
    """How much of a score is the complexity of the image.

    Attributes:
      rho: Spearman's rank correlation with its interval, in [-1, 1].
      share: `rho^2`, the share of the variance of the scores' ranks that the ranks of the complexities explain.
    """

    rho: Interval
    share: float


class BoxStatistics(NamedTuple):
    """What a box plot with 5 % and 95 % whiskers shows of each class; float64 `[classes]` each.

    Attributes:
      labels: the classes, ascending.
      low: 5th percentile.
      first_quartile: 25th percentile.
      median: 50th percentile.
      third_quartile: 75th percentile.
      high: 95th percentile.
    """

    labels: np.ndarray
    low: np.ndarray
    first_quartile: np.ndarray
    median: np.ndarray
    third_quartile: np.ndarray
    high: np.ndarray


def roc_curve(normal: ArrayLike, anomalous: ArrayLike) -> Roc:
    """The ROC curve of a score: `TPR = TP / (TP + FN)` against `FPR = FP / (FP + TN)` over all thresholds.

    Args:
      normal: scores of normal images, `[N]`; higher is more anomalous. Infinite scores are ordered as usual.
      anomalous: scores of anomalous images, `[M]`.

    Returns:
      The corners of the curve; most points on a straight line between two others are left out.

    Raises:
      TypeError: the scores are not real numbers.
      ValueError: the scores are empty, not one-dimensional, or hold NaN.

    >>> curve = roc_curve([0.0, 2.0], [1.0, 3.0])
    >>> list(zip(curve.fpr.tolist(), curve.tpr.tolist()))
    [(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)]
    """
    normal, anomalous = _scores("normal", normal), _scores("anomalous", anomalous)
    # Ranks instead of scores: scikit-learn refuses infinities, and only the order counts.
    _, ranks = np.unique(np.concatenate([normal, anomalous]), return_inverse=True)
    truth = np.repeat([0, 1], [len(normal), len(anomalous)])
    import sklearn.metrics  # 0.4 s, which a command that computes no curve need not wait

    fpr, tpr, _ = sklearn.metrics.roc_curve(truth, ranks)
    return Roc(fpr=fpr, tpr=tpr)


def roc_auc(
    normal: ArrayLike,
    anomalous: ArrayLike,
    *,
    paired: bool = False,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The area under the ROC curve with its percentile bootstrap interval.

    `AUC = P(anomalous > normal) + 1/2 P(anomalous = normal)` over all pairs of an anomalous and a normal
    image: 0.5 for chance, 1 for a perfect separation, below 0.5 where the score ranks anomalies lower.

    The bootstrap draws images with replacement. With `paired`, `normal[i]` and `anomalous[i]` are two copies
    of one image, as in the toy test set, and an image is drawn with both; since the copies rise and fall
    together, the interval is narrower than that of independent images, and rightly so.

    A resample is counted, not sorted again: 1,000 of 2 x 26,032 scores take half a second and 3 MB.

    Args:
      normal: scores of normal images, `[N]`; higher is more anomalous. Infinite scores are ordered as usual.
      anomalous: scores of anomalous images, `[M]`; `M = N` if paired.
      paired: whether both are scores of the same images, in the same order.
      bootstrap: number of resamples, at least one.
      confidence: coverage of the interval, between zero and one.
      seed: of the resampling, not negative.

    Returns:
      The AUC and the quantiles `(1 - confidence) / 2` and `(1 + confidence) / 2` of its resamples. Where the
      separation is perfect every resample is too, and the interval has no width.

    Raises:
      TypeError: the scores are not real numbers.
      ValueError: the scores are empty, not one-dimensional, hold NaN, or are paired and differ in number; or
        `bootstrap` or `confidence` is out of its range.

    >>> roc_auc([0.0, 1.0, 2.0], [2.0, 3.0, 4.0]).value
    0.944...
    """
    normal, anomalous = _two_kinds(normal, anomalous, paired)
    normal_order, anomalous_order = np.argsort(normal), np.argsort(anomalous)
    ascending = normal[normal_order]
    # For every anomalous score, ascending: how many normal ones lie below it, and how many not above it.
    below = np.searchsorted(ascending, anomalous[anomalous_order], side="left")
    not_above = np.searchsorted(ascending, anomalous[anomalous_order], side="right")

    def auc(normal_counts: np.ndarray, anomalous_counts: np.ndarray) -> float:
        cumulative = np.concatenate([[0], np.cumsum(normal_counts[normal_order])])
        # Twice the wins, in integers: a tie is half a win without any rounding.
        twice = np.dot(anomalous_counts[anomalous_order], cumulative[below] + cumulative[not_above])
        return float(twice) / (2 * len(normal) * len(anomalous))

    sizes = [len(normal)] if paired else [len(normal), len(anomalous)]
    low, high = _bootstrap(
        lambda *counts: auc(counts[0], counts[-1]), sizes, resamples=bootstrap, confidence=confidence, seed=seed
    )
    value = auc(np.ones(len(normal), np.int64), np.ones(len(anomalous), np.int64))
    return Interval(value=value, low=low, high=high)


def average_precision(
    normal: ArrayLike,
    anomalous: ArrayLike,
    *,
    paired: bool = False,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The average precision with its percentile bootstrap interval: the area under the precision-recall curve.

    `AP = sum_t (recall_t - recall_{t-1}) precision_t` over all thresholds, from the highest, without
    interpolation. Of the images above a threshold, precision is the share that is anomalous: what an inspector
    meets who looks at the worst first. It depends on how many anomalous images there are to begin with: chance
    is `M / (N + M)`, so that only figures on the same test set compare.

    The bootstrap is that of `roc_auc`. Both kinds keep their number, and with it the level of chance.

    Args:
      normal: scores of normal images, `[N]`; higher is more anomalous. Infinite scores are ordered as usual.
      anomalous: scores of anomalous images, `[M]`; `M = N` if paired.
      paired: whether both are scores of the same images, in the same order.
      bootstrap: number of resamples, at least one.
      confidence: coverage of the interval, between zero and one.
      seed: of the resampling, not negative.

    Returns:
      The average precision, in (0, 1], and the quantiles `(1 - confidence) / 2` and `(1 + confidence) / 2` of
      its resamples.

    Raises:
      TypeError: the scores are not real numbers.
      ValueError: the scores are empty, not one-dimensional, hold NaN, or are paired and differ in number; or
        `bootstrap` or `confidence` is out of its range.

    >>> average_precision([0.0, 1.0], [2.0, 0.5]).value
    0.833...
    """
    normal, anomalous = _two_kinds(normal, anomalous, paired)
    # Ranks instead of scores: scikit-learn refuses infinities, and only the order counts.
    _, ranks = np.unique(np.concatenate([normal, anomalous]), return_inverse=True)
    truth = np.repeat([0, 1], [len(normal), len(anomalous)])
    order = np.argsort(ranks)[::-1]
    # The last image of each run of equal scores, from the highest.
    last = np.flatnonzero(np.append(np.diff(ranks[order]), -1))

    def precision(normal_counts: np.ndarray, anomalous_counts: np.ndarray) -> float:
        counts = np.concatenate([normal_counts, anomalous_counts])[order]
        above = np.cumsum(counts)[last]
        found = np.cumsum(counts * truth[order])[last]
        # Above the first image drawn there is none, and nothing to be gained.
        return float(np.sum(np.diff(found, prepend=0) * found / np.maximum(above, 1)) / len(anomalous))

    sizes = [len(normal)] if paired else [len(normal), len(anomalous)]
    low, high = _bootstrap(
        lambda *counts: precision(counts[0], counts[-1]), sizes, resamples=bootstrap, confidence=confidence, seed=seed
    )
    import sklearn.metrics  # see roc_curve

    return Interval(value=float(sklearn.metrics.average_precision_score(truth, ranks)), low=low, high=high)


def explained_by_class(scores: ArrayLike, labels: ArrayLike) -> float:
    """The fraction of the scores' variance that the class of the image explains (eta squared).

    `eta^2 = sum_c n_c (mean_c - mean)^2 / sum_i (s_i - mean)^2`, the between-class share of the sum of
    squares: 0 where every class has the same mean score, 1 where the score is a function of the class. Classes
    that differ in nothing reach `(k - 1) / (n - 1)` on average, with `k` classes and `n` images.

    Args:
      scores: `[N]`, of normal images.
      labels: `[N]`, their classes: integers, booleans or strings.

    Returns:
      A number in [0, 1]. A score that is the same for every image (D of a mixture with one component) has no
      variance to explain, and gives 0.

    Raises:
      TypeError: the scores are not real numbers, or the labels are floating point.
      ValueError: scores or labels are empty, not one-dimensional or differ in number; a score is not finite.

    >>> explained_by_class([0.0, 0.0, 1.0, 1.0], [0, 0, 1, 1])
    1.0
    >>> explained_by_class([0.0, 1.0, 0.0, 1.0], [0, 0, 1, 1])
    0.0
    """
    scores, labels = _labelled(scores, labels)
    if np.ptp(scores) == 0.0:
        # The mean of equal numbers may round, and leave a variance of 1e-24 to divide by.
        return 0.0
    _, index = np.unique(labels, return_inverse=True)
    deviations = scores - scores.mean()
    sums, counts = np.bincount(index, weights=deviations), np.bincount(index)
    between, total = np.sum(np.square(sums) / counts), np.sum(np.square(deviations))
    # Rounding may carry the share of a score that is a function of the class beyond one.
    return float(min(between / total, 1.0))


def complexity(images: np.ndarray | Sequence[np.ndarray]) -> Int64[np.ndarray, "n"]:
    """The complexity of each image: the size of its PNG in bytes.

    PNG is lossless, so the size bounds the information in the image from above: a flat surface takes little, a
    screw thread more, noise most. It is written by Pillow with compression level 6 and its own choice of
    filters. Another version of zlib gives other sizes, in nearly the same order; compare sizes of one run, and
    of images of one size.

    Args:
      images: `[N, height, width, channels]`, or a sequence of `[height, width, channels]` in any sizes; one channel
        or three; uint8, or floating point in [0, 1], which is rounded to eight bits.

    Returns:
      Bytes, int64 `[N]`.

    Raises:
      TypeError: images of another dtype.
      ValueError: no images; an image of another rank or number of channels, not finite or out of range.

    >>> flat, noise = np.zeros((16, 16, 1)), np.random.default_rng(0).uniform(size=(16, 16, 1))
    >>> sizes = complexity([flat, noise])
    >>> bool(sizes[0] < sizes[1])
    True
    """
    if len(images) == 0:
        raise ValueError("there are no images, expected at least one")
    return np.array([_png_bytes(image) for image in images], dtype=np.int64)


def bytes_a_pixel(image: np.ndarray) -> float:
    """The complexity of one image, divided by its pixels, so that images of several sizes can be compared.

    Args:
      image: `[height, width, channels]`, see `complexity`.

    Returns:
      Bytes a pixel.

    Raises:
      TypeError, ValueError: see `complexity`.

    >>> flat = np.zeros((100, 100, 1))
    >>> bytes_a_pixel(flat) < 0.1
    True
    """
    return float(complexity([image])[0]) / (image.shape[0] * image.shape[1])


def explained_by_complexity(
    scores: ArrayLike,
    complexities: ArrayLike,
    *,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> ComplexityShare:
    """How much of the scores' order the complexity of the images explains: Spearman's rho and its square.

    Rho is the correlation of the ranks, equal ones sharing their mean. A score that is robust to complexity has
    a rho near 0 on normal images, and one that measures nothing else has 1. Independent of each other, `N`
    images reach a `rho^2` of `1 / (N - 1)` on average.

    The percentile bootstrap draws images with replacement. It draws some twice, whose ranks then tie, and so
    its interval lies slightly nearer to zero than it might.

    Args:
      scores: `[N]`, of normal images; patches of one image are not independent, and narrow the interval too far.
      complexities: `[N]`, of the same images, as `complexity` gives them.
      bootstrap: number of resamples, at least one.
      confidence: coverage of the interval, between zero and one.
      seed: of the resampling, not negative.

    Returns:
      Rho with its interval, and `rho^2`. Scores or complexities that are all the same have no order to explain,
      and give 0.

    Raises:
      TypeError: scores or complexities are not real numbers.
      ValueError: scores or complexities are empty, not one-dimensional, not finite or differ in number; or
        `bootstrap` or `confidence` is out of its range.

    >>> explained_by_complexity([1.0, 2.0, 4.0, 3.0], [100, 110, 150, 130], bootstrap=10).share
    1.0
    >>> round(explained_by_complexity([4.0, 2.0, 1.0, 3.0], [100, 110, 150, 130], bootstrap=10).rho.value, 3)
    -0.8
    """
    scores, complexities = _finite("given", scores), _finite("complexity", complexities)
    if scores.shape != complexities.shape:
        raise ValueError(f"got {len(scores)} scores and {len(complexities)} complexities, expected one a score")
    groups = [np.unique(values, return_inverse=True)[1] for values in (scores, complexities)]

    def rho(counts: np.ndarray) -> float:
        x, y = (_centred_ranks(group, counts) for group in groups)
        variance = np.sum(counts * np.square(x)) * np.sum(counts * np.square(y))
        # All draws alike: nothing to correlate.
        return float(np.sum(counts * x * y) / np.sqrt(variance)) if variance > 0.0 else 0.0

    low, high = _bootstrap(rho, [len(scores)], resamples=bootstrap, confidence=confidence, seed=seed)
    if np.ptp(scores) == 0.0 or np.ptp(complexities) == 0.0:
        return ComplexityShare(rho=Interval(0.0, 0.0, 0.0), share=0.0)
    import scipy.stats  # see roc_curve

    value = float(scipy.stats.spearmanr(scores, complexities).statistic)
    return ComplexityShare(rho=Interval(value, low, high), share=value**2)


def box_statistics(scores: ArrayLike, labels: ArrayLike, *, center: float | None = None) -> BoxStatistics:
    """The 5th, 25th, 50th, 75th and 95th percentiles of each class about the median (Fig. 5 and 6).

    Args:
      scores: `[N]`.
      labels: `[N]`, their classes: integers, booleans or strings.
      center: what is subtracted, None for the median of all `scores`. Boxes of normal and of anomalous images
        that stand in one plot need a common one.

    Returns:
      Arrays `[classes]`, in the units of the scores.

    Raises:
      TypeError: the scores are not real numbers, or the labels are floating point.
      ValueError: scores or labels are empty, not one-dimensional or differ in number; a score is not finite.

    >>> box_statistics([1.0, 2.0, 3.0, 11.0, 12.0, 13.0], [0, 0, 0, 1, 1, 1], center=2.0).median.tolist()
    [0.0, 10.0]
    """
    scores, labels = _labelled(scores, labels)
    classes = np.unique(labels)
    centred = scores - (np.median(scores) if center is None else center)
    percentiles = [np.percentile(centred[labels == label], [5, 25, 50, 75, 95]) for label in classes]
    return BoxStatistics(classes, *np.stack(percentiles, axis=1))


def _bootstrap(
    statistic: Callable[..., float], sizes: Sequence[int], *, resamples: int, confidence: float, seed: int
) -> tuple[float, float]:
    """Ends of the percentile interval of `statistic(*counts)`, how often each image of each sample is drawn."""
    if resamples < 1:
        raise ValueError(f"bootstrap is {resamples}, expected at least 1 resample")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}, expected a number between 0 and 1, e.g. 0.95")
    rng = np.random.default_rng(seed)
    drawn = [statistic(*(_resample(rng, size) for size in sizes)) for _ in range(resamples)]
    low, high = np.quantile(drawn, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    return float(low), float(high)


def _resample(rng: np.random.Generator, n: int) -> np.ndarray:
    """How often each of n images is drawn in n draws with replacement, int64 `[n]`."""
    return np.bincount(rng.integers(n, size=n), minlength=n)


def _centred_ranks(group: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Twice the mean rank of each image's equals, less that of all, where image `i` is drawn `counts[i]` times.

    `group` numbers the distinct values, ascending. The results are integers, in float64.
    """
    drawn = np.bincount(group, weights=counts)
    return (2.0 * np.cumsum(drawn) - drawn - counts.sum())[group]


def _png_bytes(image: np.ndarray) -> int:
    check_images(image, (None, None, None))
    channels = image.shape[-1]
    if channels not in (1, 3):
        raise ValueError(f"got an image of {channels} channels; expected one (gray) or three (RGB); pick those")
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels.astype(np.float64) * 255.0).astype(np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, format="PNG", compress_level=6)
    return file.tell()


def _two_kinds(normal: ArrayLike, anomalous: ArrayLike, paired: bool) -> tuple[np.ndarray, np.ndarray]:
    normal, anomalous = _scores("normal", normal), _scores("anomalous", anomalous)
    if paired and len(normal) != len(anomalous):
        raise ValueError(
            f"got {len(normal)} normal and {len(anomalous)} anomalous scores, expected as many of each with "
            "paired=True; give two scores of every image, or paired=False"
        )
    return normal, anomalous


def _scores(name: str, scores: ArrayLike) -> Float64[np.ndarray, "n"]:
    array = np.asarray(scores)
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise TypeError(f"the {name} scores have dtype {array.dtype}, expected real numbers")
    if array.ndim != 1:
        raise ValueError(f"the {name} scores have shape {array.shape}, expected one score an image, [N]")
    if array.size == 0:
        raise ValueError(f"there are no {name} scores, expected at least one")
    if np.isnan(array).any():
        raise ValueError(
            f"{int(np.isnan(array).sum())} of {array.size} {name} scores are NaN, expected numbers, since "
            "NaN has no rank; find the images that scored it"
        )
    return array.astype(np.float64)


def _finite(name: str, scores: ArrayLike) -> Float64[np.ndarray, "n"]:
    finite = _scores(name, scores)
    if not np.isfinite(finite).all():
        raise ValueError(
            f"{int(np.isinf(finite).sum())} of {finite.size} {name} scores are infinite, expected finite numbers; "
            "find the images that scored it"
        )
    return finite


def _labelled(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    finite = _finite("given", scores)
    classes = np.asarray(labels)
    if np.issubdtype(classes.dtype, np.inexact):
        raise TypeError(f"the labels have dtype {classes.dtype}, expected classes: integers, booleans or strings")
    if classes.shape != finite.shape:
        raise ValueError(
            f"got labels of shape {classes.shape} for scores of shape {finite.shape}, expected one a score"
        )
    return finite, classes
