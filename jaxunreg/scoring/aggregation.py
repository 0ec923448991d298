"""The rule that makes an image's score from the scores of its patches.

It is the mean of the `k` highest patch scores, or of all if the image has fewer patches:

    s = 1/k' sum_{i <= k'} s_(i),    k' = min(k, patches),    s_(1) >= s_(2) >= ...

A patch score that is NaN is never ignored: the image's score is NaN, or an error if values can be read. `image_score`
is the rule as a pure JAX function. `highest_scores` and `mean_of_highest` are the same rule on NumPy arrays in two
steps, so that the highest scores can be kept and `k` chosen later.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from jaxunreg.doors import check_kind
from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument
from jaxunreg.integers import check_integer
from jaxunreg.masked import check_unmasked


def image_score(scores: Float[Array, "rows columns"], *, top_k: int = 1) -> Float[Array, ""]:
    """Return an image's score: the mean of its `top_k` highest patch scores, or of all if it has fewer patches.

    An image with fewer than `top_k` patches is no error, because such images are common in folders of mixed sizes. An
    `AnomalyDetector` scores them by the same rule. This is a pure function: it composes with `jit`, `vmap` and `grad`.

    Args:
      scores: scores of every patch, `[rows, columns]`.
      top_k: how many patches count.

    Returns:
      A scalar, in the units and the dtype of the scores; NaN if any patch score is NaN.

    Raises:
      ArgumentError: no patches, scores with another number of axes, or `top_k` below one.
      ArgumentTypeError: scores that are not a floating-point array, or a `top_k` that is not an integer.

    >>> import jax.numpy as jnp
    >>> scores = jnp.array([[1.0, 5.0], [2.0, 3.0]])
    >>> float(image_score(scores)), float(image_score(scores, top_k=2)), float(image_score(scores, top_k=9))
    (5.0, 4.0, 2.75)
    """
    _check_top_k(top_k)
    check_unmasked(scores, "scores")
    arrays = "an array of patch scores, e.g. `score_image(...).m`"
    check_kind("scores", scores, (jax.Array, np.ndarray), arrays, "pass a term of a `Decomposition`")
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        raise ArgumentTypeError(f"patch scores of dtype {scores.dtype}", "floating point", "convert them")
    if scores.ndim != 2 or scores.size == 0:
        expected = "[rows, columns] with at least one patch"
        raise ArgumentError(f"patch scores of shape {list(scores.shape)}", expected, field="scores")
    flat = jnp.ravel(scores)
    mean = jnp.mean(jax.lax.top_k(flat, min(top_k, flat.size))[0])
    # `jax.lax.top_k` ranks a NaN by its sign bit, and puts the NaN of 0/0 on x86 last.
    return jnp.where(jnp.any(jnp.isnan(flat)), jnp.asarray(jnp.nan, mean.dtype), mean)


def highest_scores(scores: np.ndarray, count: int) -> Float[np.ndarray, " count"]:
    """Return the highest patch scores of an image, descending, in their dtype; NaN fills up missing ones.

    Raises:
      ArgumentError: a score is NaN.

    >>> import numpy as np
    >>> highest_scores(np.array([[1.0, 5.0], [2.0, 3.0]]), 3).tolist()
    [5.0, 3.0, 2.0]
    """
    check_unmasked(scores, "scores")
    undefined = int(np.isnan(scores).sum())
    if undefined:
        raise ArgumentError(
            f"{undefined} of {np.size(scores)} patch scores that are NaN",
            "numbers",
            "look for NaN in the image, or in the model's variables",
            field="scores",
        )
    ordered = np.sort(scores, axis=None)[::-1][:count]
    return np.append(ordered, np.full(count - len(ordered), np.nan, ordered.dtype))


def mean_of_highest(highest: Float[np.ndarray, "*images count"], top_k: int) -> Float64[np.ndarray, "*images"]:
    """Return the scores of images from their highest patch scores, by the rule of `image_score`.

    Args:
      highest: from `highest_scores`, of one image or stacked for several.
      top_k: how many patches count, at most as many as were kept.

    Returns:
      Float64, one score an image.

    Raises:
      ArgumentError: `top_k` below one, or above the number of scores that were kept.

    >>> import numpy as np
    >>> small, large = np.array([[1.0, 2.0]]), np.array([[1.0, 5.0], [2.0, 3.0]])
    >>> mean_of_highest(np.stack([highest_scores(small, 3), highest_scores(large, 3)]), top_k=3).tolist()
    [1.5, 3.3333333333333335]
    """
    _check_top_k(top_k)
    kept = highest.shape[-1]
    if top_k > kept:
        raise ArgumentError(argument("top_k", top_k), f"at most {kept}, the number of scores kept of an image")
    return np.asarray(np.nanmean(highest[..., :top_k], axis=-1, dtype=np.float64))


def _check_top_k(top_k: int) -> None:
    check_integer("top_k", top_k, at_least=1)
