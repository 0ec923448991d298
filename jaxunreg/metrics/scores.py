"""Scores that are checked before they are measured."""

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike


def two_kinds(normal: ArrayLike, anomalous: ArrayLike, paired: bool) -> tuple[np.ndarray, np.ndarray]:
    normal, anomalous = checked_scores("normal", normal), checked_scores("anomalous", anomalous)
    if paired and len(normal) != len(anomalous):
        raise ValueError(
            f"got {len(normal)} normal and {len(anomalous)} anomalous scores, expected as many of each with "
            "paired=True; give two scores of every image, or paired=False"
        )
    return normal, anomalous


def checked_scores(name: str, scores: ArrayLike) -> Float64[np.ndarray, "n"]:
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


def finite_scores(name: str, scores: ArrayLike) -> Float64[np.ndarray, "n"]:
    finite = checked_scores(name, scores)
    if not np.isfinite(finite).all():
        raise ValueError(
            f"{int(np.isinf(finite).sum())} of {finite.size} {name} scores are infinite, expected finite numbers; "
            "find the images that scored it"
        )
    return finite


def labelled(scores: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    finite = finite_scores("given", scores)
    classes = np.asarray(labels)
    if np.issubdtype(classes.dtype, np.inexact):
        raise TypeError(f"the labels have dtype {classes.dtype}, expected classes: integers, booleans or strings")
    if classes.shape != finite.shape:
        raise ValueError(
            f"got labels of shape {classes.shape} for scores of shape {finite.shape}, expected one a score"
        )
    return finite, classes
