"""Box-plot statistics of scores by class."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxunreg.metrics.scores import labelled
from jaxunreg.signatures import checked


class BoxStatistics(NamedTuple):
    """The numbers of a box plot with 5 % and 95 % whiskers for each class; float64 `[classes]` each.

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


@checked
def box_statistics(scores: ArrayLike, labels: ArrayLike, *, center: float | None = None) -> BoxStatistics:
    """Return the 5th, 25th, 50th, 75th and 95th percentiles of each class about the median (Fig. 5 and 6).

    Args:
      scores: `[N]`.
      labels: `[N]`, their classes: integers, booleans or strings.
      center: the number to subtract; None for the median of all `scores`. Boxes of normal and of anomalous images in
        one plot need a common center.

    Returns:
      Arrays `[classes]`, in the units of the scores.

    Raises:
      ArgumentTypeError: the scores are not real numbers, or the labels are floating point.
      ArgumentError: scores or labels are empty, not one-dimensional or differ in number; a score is not finite.

    >>> box_statistics([1.0, 2.0, 3.0, 11.0, 12.0, 13.0], [0, 0, 0, 1, 1, 1], center=2.0).median.tolist()
    [0.0, 10.0]
    """
    scores, labels = labelled(scores, labels)
    classes = np.unique(labels)
    centred = scores - (np.median(scores) if center is None else center)
    percentiles = [np.percentile(centred[labels == label], [5, 25, 50, 75, 95]) for label in classes]
    return BoxStatistics(classes, *np.stack(percentiles, axis=1))
