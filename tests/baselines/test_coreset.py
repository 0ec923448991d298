"""The greedy coreset against the algorithm of PatchCore, word by word, in float64."""

import numpy as np
import pytest

from jaxunreg.baselines import coreset
from jaxunreg.baselines.coreset import greedy_coreset


def one_by_one(vectors: np.ndarray, size: int, first: int) -> list[int]:
    """`argmax over those not chosen of min over those chosen of |x - c|`, all distances afresh at each choice."""
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    chosen = [first]
    while len(chosen) < size:
        rest = [k for k in range(len(vectors)) if k not in chosen]
        chosen.append(rest[int(distances[np.ix_(rest, chosen)].min(axis=1).argmax())])
    return chosen


@pytest.mark.parametrize("pool", [1, 7, 50, 10_000])
@pytest.mark.parametrize("spread", [0.0, 3.0], ids=["a cloud", "clusters"])
def test_the_order_is_that_of_one_choice_after_the_other(
    pool: int, spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coreset, "_POOL", pool)
    monkeypatch.setattr(coreset, "_DISTANCES", 500)
    rng = np.random.default_rng(0)
    # Far from the origin, where squares of float32 lose digits.
    vectors = 100 + rng.normal(size=(200, 5)) + spread * rng.normal(size=(8, 5))[rng.integers(8, size=200)]
    assert greedy_coreset(vectors, 60, first=17).tolist() == one_by_one(vectors, 60, first=17)


def test_no_vector_is_chosen_twice_even_where_only_copies_are_left() -> None:
    vectors = np.repeat(np.eye(3, dtype=np.float32), 4, axis=0)
    chosen = greedy_coreset(vectors, 12)
    assert sorted(chosen.tolist()) == list(range(12))
    assert len({tuple(vectors[k]) for k in chosen[:3]}) == 3


def test_it_covers_at_most_twice_as_far_as_the_best_centres() -> None:
    """Gonzalez's bound, where the best centres are known: the middles of three discs of radius 1."""
    rng = np.random.default_rng(1)
    middles = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    angle, radius = rng.uniform(0, 2 * np.pi, 300), np.sqrt(rng.uniform(size=300))
    discs = middles[np.arange(300) % 3] + (radius * np.array([np.cos(angle), np.sin(angle)])).T
    vectors = np.concatenate([middles, discs])
    chosen = vectors[greedy_coreset(vectors, 3, first=5)]
    cover = np.linalg.norm(vectors[:, None] - chosen[None], axis=2).min(axis=1).max()
    assert 1.0 < cover <= 2.0
