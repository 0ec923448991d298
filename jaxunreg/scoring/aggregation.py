"""The one rule by which the scores of its patches make the score of an image."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def image_score(scores: Float[Array, "rows columns"], *, top_k: int = 1) -> Float[Array, ""]:
    """An image's score from its patches': the largest, or the mean of the `top_k` largest.

    Args:
      scores: of every patch, `[rows, columns]`.
      top_k: how many.

    Returns:
      A scalar.

    Raises:
      ValueError: fewer patches than `top_k`, or `top_k` below one.

    >>> import jax.numpy as jnp
    >>> scores = jnp.array([[1.0, 5.0], [2.0, 3.0]])
    >>> float(image_score(scores)), float(image_score(scores, top_k=2))
    (5.0, 4.0)
    """
    if not 1 <= top_k <= scores.size:
        raise ValueError(f"got top_k={top_k} with {scores.size} patches; expected 1 to {scores.size}")
    return jnp.mean(jax.lax.top_k(jnp.ravel(scores), top_k)[0])


def highest_scores(scores: np.ndarray, count: int) -> Float[np.ndarray, " count"]:
    """The highest of an image's patch scores, descending, and NaN where there are fewer; in their own dtype.

    Raises:
      ValueError: a score is NaN.

    >>> import numpy as np
    >>> highest_scores(np.array([[1.0, 5.0], [2.0, 3.0]]), 3).tolist()
    [5.0, 3.0, 2.0]
    """
    undefined = int(np.isnan(scores).sum())
    if undefined:
        raise ValueError(
            f"got {undefined} of {np.size(scores)} patch scores that are NaN; expected numbers; look for NaN in the "
            "image, or in the model's variables"
        )
    ordered = np.sort(scores, axis=None)[::-1][:count]
    return np.append(ordered, np.full(count - len(ordered), np.nan, ordered.dtype))
