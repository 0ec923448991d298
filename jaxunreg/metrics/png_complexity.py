"""How much of a score follows the complexity of an image, and not its defects."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image
from jaxtyping import Int64
from numpy.typing import ArrayLike

from jaxunreg.errors import ArgumentError
from jaxunreg.images import check_images
from jaxunreg.metrics.bootstrap import bootstrap_interval
from jaxunreg.metrics.interval import Interval
from jaxunreg.metrics.scores import finite_scores, labelled


class ComplexityShare(NamedTuple):
    """How much of a score is the complexity of the image.

    Attributes:
      rho: Spearman's rank correlation with its interval, in [-1, 1].
      share: `rho^2`, the share of the variance of the scores' ranks that the ranks of the complexities explain.
    """

    rho: Interval
    share: float


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
    scores, labels = labelled(scores, labels)
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
        raise ArgumentError("no images", "at least one", field="images")
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
    scores, complexities = finite_scores("given", scores), finite_scores("complexity", complexities)
    if scores.shape != complexities.shape:
        raise ArgumentError(
            f"{len(scores)} scores and {len(complexities)} complexities", "one complexity a score", field="complexities"
        )
    groups = [np.unique(values, return_inverse=True)[1] for values in (scores, complexities)]

    def rho(counts: np.ndarray) -> float:
        x, y = (_centred_ranks(group, counts) for group in groups)
        variance = np.sum(counts * np.square(x)) * np.sum(counts * np.square(y))
        # All draws alike: nothing to correlate.
        return float(np.sum(counts * x * y) / np.sqrt(variance)) if variance > 0.0 else 0.0

    low, high = bootstrap_interval(rho, [len(scores)], resamples=bootstrap, confidence=confidence, seed=seed)
    if np.ptp(scores) == 0.0 or np.ptp(complexities) == 0.0:
        return ComplexityShare(rho=Interval(0.0, 0.0, 0.0), share=0.0)
    import scipy.stats  # see roc_curve

    value = float(scipy.stats.spearmanr(scores, complexities).statistic)
    return ComplexityShare(rho=Interval(value, low, high), share=value**2)


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
        raise ArgumentError(f"an image of {channels} channels", "one (gray) or three (RGB)", "pick those", "image")
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        pixels = np.rint(pixels.astype(np.float64) * 255.0).astype(np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(file, format="PNG", compress_level=6)
    return file.tell()
