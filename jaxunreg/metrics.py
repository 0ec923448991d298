"""How well a score separates anomalies from normal images, and how much of it is the class of the image."""

from typing import NamedTuple

import numpy as np
import sklearn.metrics
from jaxtyping import Float64
from numpy.typing import ArrayLike


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
    normal, anomalous = _scores("normal", normal), _scores("anomalous", anomalous)
    if paired and len(normal) != len(anomalous):
        raise ValueError(
            f"got {len(normal)} normal and {len(anomalous)} anomalous scores, expected as many of each with "
            "paired=True; give two scores of every image, or paired=False"
        )
    if bootstrap < 1:
        raise ValueError(f"bootstrap is {bootstrap}, expected at least 1 resample")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence is {confidence}, expected a number between 0 and 1, e.g. 0.95")

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

    rng = np.random.default_rng(seed)
    resamples = np.empty(bootstrap)
    for i in range(bootstrap):
        normal_counts = _resample(rng, len(normal))
        resamples[i] = auc(normal_counts, normal_counts if paired else _resample(rng, len(anomalous)))
    low, high = np.quantile(resamples, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    value = auc(np.ones(len(normal), np.int64), np.ones(len(anomalous), np.int64))
    return Interval(value=value, low=float(low), high=float(high))


def explained_by_class(scores: ArrayLike, labels: ArrayLike) -> float:
    """The fraction of the scores' variance that the class of the image explains (eta squared).

    `eta^2 = sum_c n_c (mean_c - mean)^2 / sum_i (s_i - mean)^2`, the between-class share of the sum of
    squares: 0 where every class has the same mean score, 1 where the score is a function of the class.
      Classes that differ in
    nothing reach `(k - 1) / (n - 1)` on average, with `k` classes and `n` images.

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


def _resample(rng: np.random.Generator, n: int) -> np.ndarray:
    """How often each of n images is drawn in n draws with replacement, int64 `[n]`."""
    return np.bincount(rng.integers(n, size=n), minlength=n)


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


def _labelled(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    finite = _scores("given", scores)
    if not np.isfinite(finite).all():
        raise ValueError(
            f"{int(np.isinf(finite).sum())} of {finite.size} scores are infinite, expected finite numbers; "
            "find the images that scored it"
        )
    classes = np.asarray(labels)
    if np.issubdtype(classes.dtype, np.inexact):
        raise TypeError(f"the labels have dtype {classes.dtype}, expected classes: integers, booleans or strings")
    if classes.shape != finite.shape:
        raise ValueError(
            f"got labels of shape {classes.shape} for scores of shape {finite.shape}, expected one a score"
        )
    return finite, classes
