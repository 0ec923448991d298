"""Checks of scores and labels before they are used."""

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from jaxunreg.doors import given_array
from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument


def two_kinds(normal: ArrayLike, anomalous: ArrayLike, paired: bool) -> tuple[np.ndarray, np.ndarray]:
    """Check scores of normal and of anomalous images, which must be equally many if they are `paired`.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `checked_scores`; also incomplete pairs, or a single pair.
    """
    normal, anomalous = checked_scores("normal", normal), checked_scores("anomalous", anomalous)
    if paired and len(normal) != len(anomalous):
        raise ArgumentError(
            f"{len(normal)} normal and {len(anomalous)} anomalous scores",
            f"as many of each with {argument('paired', True)}",
            f"give two scores of every image, or {argument('paired', False)}",
            "anomalous",
        )
    if paired and len(normal) < 2:
        raise ArgumentError(
            f"1 image with {argument('paired', True)}",
            "at least 2, since no image is compared with itself",
            "give more images",
            "normal",
        )
    return normal, anomalous


def checked_scores(name: str, scores: ArrayLike) -> Float64[np.ndarray, "n"]:
    """Check scores and return them as float64 `[N]`. Infinite scores are allowed.

    Args:
      name: name of the scores, for the error.
      scores: one for each image.

    Raises:
      ArgumentTypeError: they are not real numbers.
      ArgumentError: they are empty, not one-dimensional, masked, or hold NaN.

    >>> checked_scores("normal", [1, 2])
    array([1., 2.])
    """
    array = given_array(name, scores, f"{name} scores")
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise ArgumentTypeError(f"{name} scores of dtype {array.dtype}", "real numbers", field=name)
    if array.ndim != 1:
        raise ArgumentError(f"{name} scores of shape {array.shape}", "one score an image, [N]", field=name)
    if array.size == 0:
        raise ArgumentError(f"no {name} scores", "at least one", field=name)
    if np.isnan(array).any():
        raise ArgumentError(
            f"{int(np.isnan(array).sum())} of {array.size} {name} scores that are NaN",
            "numbers, since NaN has no rank",
            "find the images that scored it",
            name,
        )
    return array.astype(np.float64)


def finite_scores(name: str, scores: ArrayLike) -> Float64[np.ndarray, "n"]:
    """Check that scores are finite, and return them as float64 `[N]`.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `checked_scores`; also infinite scores.
    """
    finite = checked_scores(name, scores)
    if not np.isfinite(finite).all():
        raise ArgumentError(
            f"{int(np.isinf(finite).sum())} of {finite.size} {name} scores that are infinite",
            "finite numbers",
            "find the images that scored it",
            name,
        )
    return finite


def labelled(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Check finite scores and their classes, and return both.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `finite_scores`; also floating-point labels, or another number of
        labels than of scores.
    """
    finite = finite_scores("given", scores)
    classes = given_array("labels", labels)
    if classes.dtype == object and {type(label) for label in classes.ravel()} not in ({str}, {int}, {bool}):
        raise ArgumentTypeError("labels of several kinds", "classes: integers, booleans or strings", field="labels")
    if np.issubdtype(classes.dtype, np.inexact):
        raise ArgumentTypeError(
            f"labels of dtype {classes.dtype}", "classes: integers, booleans or strings", field="labels"
        )
    if classes.shape != finite.shape:
        raise ArgumentError(
            f"labels of shape {classes.shape} for scores of shape {finite.shape}", "one label a score", field="labels"
        )
    return finite, classes
