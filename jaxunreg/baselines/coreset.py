"""A few vectors that represent many: the greedy choice for the k-centre problem."""

import numpy as np
from jaxtyping import Float, Int64

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.integers import check_integer
from jaxunreg.signatures import checked

# Number of vectors farthest from all centres. The next centres are chosen among these.
_POOL = 2048

# Number of distances that are computed at once: 16 MB in float32.
_DISTANCES = 2**22


@checked
def greedy_coreset(vectors: Float[np.ndarray, "n features"], size: int, first: int = 0) -> Int64[np.ndarray, "{size}"]:
    """Choose vectors one by one, each the farthest from all vectors that were chosen before.

    This is algorithm 1 of PatchCore. The largest distance to the nearest chosen vector is at most twice the smallest
    possible. The next vector is `argmax_x min_c |x - c|` over the chosen `c`.

    Updating the distances to all vectors after each choice would wait for memory. Distances to the nearest centre only
    shrink. So the next choices are made among the `_POOL` farthest vectors, as long as these stay farther away than all
    others were. Then one matrix product updates the others with the new centres. The choice is the same. On two busy
    cores, it takes 1.4 s (12.7 s one by one) to choose 1,000 of 100,000 vectors of 152 features, and 8.4 s to choose
    10,000.

    Args:
      vectors: floating point; may be a view of a memory-mapped file.
      size: number of vectors to choose, at most all.
      first: index of the first vector to choose.

    Returns:
      The indices of the chosen vectors, in the order of the choice.

    Raises:
      ArgumentTypeError: the vectors are not floating point, or `size` or `first` is not an integer.
      ArgumentError: `vectors` does not have two axes, or has fewer vectors than `size` or `first` needs.

    References:
      Roth, K. et al. Towards Total Recall in Industrial Anomaly Detection. CVPR 2022.
      Gonzalez, T. F. Clustering to Minimize the Maximum Intercluster Distance. Theoretical Computer Science 38, 1985.

    >>> greedy_coreset(np.array([[0.0], [1.0], [2.0], [9.0], [10.0]]), 3).tolist()
    [0, 4, 2]
    """
    check_integer("size", size, at_least=1)
    if size > len(vectors):
        raise ArgumentError(argument("size", size), f"at most {len(vectors)}, as there are vectors", "lower it")
    if check_integer("first", first, at_least=0) >= len(vectors):
        raise ArgumentError(argument("first", first), f"below {len(vectors)}, as there are vectors", "lower it")
    origin = np.asarray(vectors[first], np.float32)
    nearest = np.full(len(vectors), np.inf, np.float32)
    chosen = [first]
    fresh = [first]
    while len(chosen) < size:
        _update(nearest, vectors, fresh, origin)
        nearest[chosen] = -np.inf  # Never chosen again, even if only copies are left.
        fresh = _choose(nearest, vectors, size - len(chosen), origin)
        chosen += fresh
    return np.array(chosen)


def _update(nearest: np.ndarray, vectors: np.ndarray, centres: list[int], origin: np.ndarray) -> None:
    """Shorten the squared distances to the nearest centre, in place."""
    step = max(1, _DISTANCES // len(centres))
    rows = _centred(vectors[centres], origin)
    squares = _squares(rows)
    for start in range(0, len(vectors), step):
        part = nearest[start : start + step]
        others = _centred(vectors[start : start + step], origin)
        squared = others @ rows.T
        squared *= -2.0
        squared += squares
        np.minimum(part, squared.min(axis=1) + _squares(others), out=part)


def _choose(nearest: np.ndarray, vectors: np.ndarray, most: int, origin: np.ndarray) -> list[int]:
    """Return the next choices, at least one, that are certain before all distances are updated."""
    count = min(_POOL, len(nearest))
    pool = np.sort(np.argpartition(nearest, -count)[-count:])
    rows, distance = _centred(vectors[pool], origin), nearest[pool]
    squares = _squares(rows)
    bound = distance.min() if len(pool) < len(nearest) else -np.inf
    chosen: list[int] = []
    while len(chosen) < most:
        farthest = int(distance.argmax())
        if chosen and distance[farthest] <= bound:
            break
        chosen.append(int(pool[farthest]))
        squared = squares + squares[farthest] - 2.0 * (rows @ rows[farthest])
        np.minimum(distance, squared, out=distance)
        distance[farthest] = -np.inf
    return chosen


def _centred(vectors: np.ndarray, origin: np.ndarray) -> np.ndarray:
    # Squares of large numbers would hide small distances.
    return np.asarray(vectors, np.float32) - origin


def _squares(rows: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", rows, rows)
