"""The rule that makes an image's score of its patches': a sort in plain Python, and what NaN does to it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg.errors import ArgumentError, ArgumentTypeError
from jaxunreg.scoring.aggregation import highest_scores, mean_of_highest

SHAPES = [(1, 1), (1, 3), (2, 2), (4, 5)]


def patch_scores(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def by_hand(scores: np.ndarray, top_k: int) -> float:
    highest = sorted(scores.ravel().tolist(), reverse=True)[:top_k]
    return sum(highest) / len(highest)


@pytest.mark.parametrize("top_k", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_mean_of_the_highest_or_of_all_where_there_are_fewer(shape, top_k):
    scores = patch_scores(shape)
    want = pytest.approx(by_hand(scores, top_k), rel=1e-6)
    assert float(ju.image_score(jnp.asarray(scores), top_k=top_k)) == want
    assert float(mean_of_highest(highest_scores(scores, 20), top_k)) == want


def test_several_images_of_different_sizes_at_once():
    kept = np.stack([highest_scores(patch_scores(shape), 20) for shape in SHAPES])
    wanted = [by_hand(patch_scores(shape), 4) for shape in SHAPES]
    np.testing.assert_allclose(mean_of_highest(kept, 4), wanted, rtol=1e-6)


@pytest.mark.parametrize("nan", [np.float32(np.nan), -np.float32(np.nan)], ids=["plus", "minus"])
@pytest.mark.parametrize("top_k", [1, 2, 4])
def test_a_nan_of_either_sign_is_never_ranked_away(nan, top_k):
    scores = np.array([[nan, 1.0], [5.0, 2.0]], np.float32)
    assert np.signbit(scores[0, 0]) == np.signbit(nan)

    def function(scores):
        return ju.image_score(scores, top_k=top_k)

    for form in (function, jax.jit(function)):
        assert np.isnan(form(jnp.asarray(scores)))
    # An image without NaN beside it keeps its score.
    both = np.stack([scores, np.nan_to_num(scores)])
    found = np.asarray(jax.jit(jax.vmap(function))(both))
    assert np.isnan(found[0])
    assert found[1] == pytest.approx(by_hand(both[1], top_k))
    with pytest.raises(ArgumentError, match="1 of 4 patch scores that are NaN"):
        highest_scores(scores, top_k)


def test_a_nan_that_is_made_inside_of_a_program_is_seen():
    """0/0, whose sign bit is set on x86."""
    score = jax.jit(lambda zero: ju.image_score(jnp.stack([zero / zero, zero + 5.0]).reshape(1, 2)))
    assert np.isnan(score(jnp.float32(0.0)))


@pytest.mark.usefixtures("no_type_checks")
def test_masked_scores_are_refused():
    scores = np.ma.masked_greater(np.array([[1.0, 5.0], [2.0, 3.0]]), 4)
    for rule in (ju.image_score, lambda array: highest_scores(array, 3)):
        with pytest.raises(ArgumentError, match="scores of which 1 of 4 values are masked"):
            rule(scores)


def test_infinite_scores_are_ranked():
    scores = jnp.array([[-jnp.inf, 1.0], [jnp.inf, 2.0]])
    assert float(ju.image_score(scores)) == np.inf
    assert float(ju.image_score(-scores, top_k=1)) == np.inf


@pytest.mark.parametrize("top_k", [1, 3, 9])
def test_the_gradient_is_shared_by_the_patches_that_count(top_k):
    scores = jnp.array([[1.0, 5.0], [2.0, 3.0]])
    order = np.argsort(np.argsort(-np.asarray(scores).ravel()))
    count = min(top_k, 4)
    wanted = np.where(order < count, 1 / count, 0.0).reshape(2, 2)
    gradient = jax.grad(lambda scores: ju.image_score(scores, top_k=top_k))(scores)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-6)


@pytest.mark.usefixtures("no_type_checks")
def test_what_has_no_score_is_refused():
    with pytest.raises(ArgumentError, match="got top_k=0; expected at least 1"):
        ju.image_score(jnp.zeros((2, 2)), top_k=0)
    with pytest.raises(ArgumentError, match="at least one patch"):
        ju.image_score(jnp.zeros((0, 2)))
    for wrong, message in (
        (jnp.zeros(4), "of shape \\[4\\]"),
        ([[1.0, 2.0]], "got scores of type list; expected an array of patch scores"),
        (jnp.zeros((2, 2), int), "patch scores of dtype int32; expected floating point"),
    ):
        with pytest.raises((ArgumentError, ArgumentTypeError), match=message):
            ju.image_score(wrong)
    kept = highest_scores(np.zeros((2, 2)), 3)
    with pytest.raises(ArgumentError, match="got top_k=0; expected at least 1"):
        mean_of_highest(kept, 0)
    with pytest.raises(ArgumentError, match="got top_k=4; expected at most 3"):
        mean_of_highest(kept, 4)
