"""The scorer: pure, composable, the same numbers whichever way it is called."""

import dataclasses
import gc
import weakref
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import spearmanr

import jaxunreg as ju
from jaxunreg.datasets.digits.embedded import synth_digits
from jaxunreg.scoring import batched, folding
from jaxunreg.scoring.scorer import fold, fold_scorer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scorer() -> ju.Scorer:
    model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 3), depth=2, base_channels=4, latent_dim=3))
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    # Running averages that differ from their start, so that a test sees whether they are used.
    variables = {**variables, "batch_stats": jax.tree.map(lambda leaf: leaf + 0.3, variables["batch_stats"])}
    return ju.make_scorer(model, variables)


@jax.jit
def score(scorer: ju.Scorer, image: jax.Array) -> ju.Decomposition:
    """The scorer, compiled once, for tests that do not concern its work outside of `jit`."""
    return scorer(image)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(7, 8, 8, 3), dtype=np.uint8)


def test_the_scorer_is_decompose_and_decompose_is_the_models_terms(scorer, images):
    one = ju.decompose(scorer.model, scorer.variables, images[2])
    chex.assert_trees_all_equal(scorer(images[2]), one)
    chex.assert_shape(jax.tree.leaves(one), ())
    batch = jax.jit(partial(scorer.model.apply, method="terms"))(scorer.variables, images / np.float32(255))
    chex.assert_trees_all_close(one, jax.tree.map(lambda leaf: leaf[2], batch), rtol=1e-5)


def test_jit_vmap_and_batches_equal_a_loop(scorer, images):
    loop = jax.tree.map(lambda *leaves: np.stack(leaves), *[score(scorer, image) for image in images])
    chex.assert_trees_all_close(jax.jit(jax.vmap(scorer))(images), loop, rtol=1e-4)
    for batch_size in (1, 3, 7, 50):
        batched = ju.score_images(scorer, images, batch_size=batch_size)
        assert isinstance(batched.m, np.ndarray)
        chex.assert_trees_all_close(batched, loop, rtol=1e-4)


def test_an_image_scores_the_same_whatever_stands_beside_it(scorer, images):
    first = ju.score_images(scorer, images, batch_size=7)
    turned = ju.score_images(scorer, images[::-1].copy(), batch_size=7)
    chex.assert_trees_all_close(first, jax.tree.map(lambda leaf: leaf[::-1], turned), rtol=1e-5)


def test_uint8_and_its_float_score_alike(scorer, images):
    chex.assert_trees_all_close(
        ju.score_images(scorer, images), ju.score_images(scorer, images.astype(np.float32) / 255), rtol=1e-5
    )


def test_ragged_streams_compile_once(scorer, images):
    before = batched.apply_in_batches._cache_size()
    for count in (7, 3, 1, 5):
        ju.score_images(scorer, images[:count], batch_size=4)
    assert batched.apply_in_batches._cache_size() <= before + 1


def test_a_few_images_need_not_wait_for_a_whole_batch(scorer, images, monkeypatch):
    many = np.concatenate([images] * 3)
    whole = ju.score_images(scorer, many)
    sizes = []
    one_call = batched.one_call

    def recorded(method, scorer, images, batch_size):
        sizes.append((len(images), batch_size))
        return one_call(method, scorer, images, batch_size)

    monkeypatch.setattr(batched, "one_call", recorded)
    before = batched.apply_in_batches._cache_size()
    for count in (1, 7, 16):
        few = ju.score_images(scorer, many[:count])
        chex.assert_trees_all_close(few, jax.tree.map(lambda leaf, count=count: leaf[:count], whole), rtol=1e-4)
    assert batched.apply_in_batches._cache_size() <= before + 1
    ju.score_images(scorer, many[:17])
    assert sizes == [(1, 1), (7, 1), (16, 1), (17, batched.images_a_batch(scorer, None))]


def test_more_images_than_one_call_takes_are_scored_in_order(scorer, images):
    many = np.concatenate([images] * 6)
    assert len(many) > 2 * batched._BATCHES_A_CALL
    scores = ju.score_images(scorer, many, batch_size=1)
    chex.assert_trees_all_close(scores.m, np.tile(ju.score_images(scorer, images).m, 6), rtol=1e-4)


def test_a_call_holds_no_more_pixels_than_it_may_or_else_one_batch(scorer, images, monkeypatch):
    many = np.concatenate([images] * 4)
    wanted = np.tile(ju.score_images(scorer, images).m, 4)
    monkeypatch.setattr(batched, "_PIXELS_IN_MEMORY", 2 * 3 * 4 * 64)
    run, shapes = batched.apply_in_batches, []

    def recorded(method, scorer, batches, count):
        shapes.append(batches.shape[:2])
        return run(method, scorer, batches, count)

    monkeypatch.setattr(batched, "apply_in_batches", recorded)
    for batch_size in (4, 50):
        chex.assert_trees_all_close(ju.score_images(scorer, many, batch_size=batch_size).m, wanted, rtol=1e-4)
    assert shapes == [(3, 4)] * 3 + [(1, 50)]


def test_folded_variables_score_the_same_and_hold_no_normalisation(scorer, images):
    folded = ju.make_scorer(scorer.model, jax.jit(partial(fold, scorer.model))(scorer.variables))
    image = images[0] / np.float32(255)
    chex.assert_trees_all_close(score(folded, image), score(scorer, image), rtol=1e-4)
    # Whoever changes the statistics afterwards changes nothing.
    stats = jax.tree.map(lambda leaf: leaf + 1.0, scorer.variables["batch_stats"])
    changed = ju.make_scorer(scorer.model, {**folded.variables, "batch_stats": stats})
    chex.assert_trees_all_close(score(changed, image), score(folded, image), rtol=1e-6)


@pytest.fixture
def folds(monkeypatch) -> list[ju.Scorer]:
    """The scorers that were folded."""
    found: list[ju.Scorer] = []

    def recorded(scorer: ju.Scorer) -> ju.Scorer:
        found.append(scorer)
        return fold_scorer(scorer)

    monkeypatch.setattr(folding, "fold_scorer", recorded)
    monkeypatch.setattr(folding, "_kept", weakref.WeakKeyDictionary())
    return found


def test_calls_with_one_scorer_fold_it_once(scorer, images, folds):
    first, second = (ju.score_images(scorer, images, batch_size=4) for _ in range(2))
    chex.assert_trees_all_equal(first, second)
    list(ju.score_each(scorer, images, stride=4))
    assert folds == [scorer]
    other = ju.make_scorer(scorer.model, scorer.variables)
    ju.score_images(other, images, batch_size=4)
    ju.score_images(scorer, images, batch_size=4)
    assert folds == [scorer, other, scorer]


@pytest.mark.parametrize("kind", ["numpy", "jax"])
def test_variables_that_change_after_a_call_are_seen(scorer, images, kind):
    variables = jax.tree.map(np.array if kind == "numpy" else jnp.array, scorer.variables)
    changing = ju.make_scorer(scorer.model, variables)
    before = ju.score_images(changing, images, batch_size=4)
    last = variables["params"]["decoder"]["Convolution_1"]
    if kind == "numpy":
        last["bias"] += np.float32(0.1)  # in place
    else:
        last["bias"] = last["bias"] + 0.1
    after = ju.score_images(changing, images, batch_size=4)
    assert not np.allclose(after.m, before.m)
    chex.assert_trees_all_equal(after, ju.score_images(ju.make_scorer(scorer.model, variables), images, batch_size=4))


def test_a_call_that_fails_inside_of_a_program_keeps_nothing_for_the_next(scorer, images):
    fresh = ju.make_scorer(scorer.model, scorer.variables)
    with pytest.raises(jax.errors.TracerArrayConversionError):
        jax.jit(lambda images: ju.score_images(fresh, images, batch_size=4).m)(images)
    chex.assert_trees_all_equal(
        ju.score_images(fresh, images, batch_size=4), ju.score_images(scorer, images, batch_size=4)
    )


def test_folded_weights_go_with_their_scorer(scorer, images):
    brief = ju.make_scorer(scorer.model, jax.tree.map(jnp.array, scorer.variables))
    ju.score_images(brief, images, batch_size=4)
    (weights, *_) = jax.tree.leaves(folding.folded_once(brief).variables["folded"])
    gone = weakref.ref(weights)
    del brief, weights
    gc.collect()
    assert gone() is None


def test_bfloat16_keeps_the_order_of_the_scores():
    """On a trained model: rank correlation with float32 of at least 0.999, in each term."""
    images = synth_digits(768, seed=0, image_size=16).images
    config = ju.VAEConfig(image_shape=(16, 16, 3), depth=2, base_channels=16, latent_dim=16)
    model = ju.VAE(config)
    state = ju.fit(model, images[:256], ju.TrainConfig(steps=60, batch_size=64), key=jax.random.key(0), progress=False)
    narrow = ju.VAE(dataclasses.replace(config, precision="bfloat16"))
    wide, rough = (
        ju.score_images(ju.make_scorer(m, state.variables), images[256:], batch_size=256) for m in (model, narrow)
    )
    assert rough.m.dtype == np.float32
    for name in ("d", "a", "m", "nelbo"):
        assert spearmanr(getattr(wide, name), getattr(rough, name)).statistic > 0.999
        assert not np.array_equal(getattr(wide, name), getattr(rough, name))


def test_the_gradient_agrees_with_finite_differences(scorer, images):
    image = jnp.asarray(images[0] / np.float32(255))
    direction = jax.random.normal(jax.random.key(1), image.shape)
    gradient = jax.jit(jax.grad(lambda x: scorer(x).nelbo))(jnp.clip(image, 0.05, 0.95))
    step = 1e-3
    ends = [score(scorer, jnp.clip(image, 0.05, 0.95) + sign * step * direction / 4).nelbo for sign in (1, -1)]
    assert float(jnp.vdot(gradient, direction)) == pytest.approx(float(ends[0] - ends[1]) / (2 * step / 4), rel=2e-2)


def test_a_scorer_is_a_pytree_argument_and_stacks_into_an_ensemble(scorer, images):
    image = jnp.asarray(images[0] / np.float32(255))
    passed = jax.jit(lambda scorer, image: scorer(image))(scorer, image)
    chex.assert_trees_all_close(passed, scorer(image), rtol=1e-5)
    other = ju.make_scorer(scorer.model, jax.tree.map(lambda leaf: 1.1 * leaf, scorer.variables))
    ensemble = jax.tree.map(lambda *leaves: jnp.stack(leaves), scorer, other)
    both = jax.jit(jax.vmap(lambda scorer: scorer(image)))(ensemble)
    chex.assert_trees_all_close(
        both, jax.tree.map(lambda *t: jnp.stack(t), score(scorer, image), score(other, image)), rtol=1e-4
    )


def test_jit_takes_the_scorer_itself(scorer, images):
    image = jnp.asarray(images[0] / np.float32(255))
    chex.assert_trees_all_close(jax.jit(scorer)(image), scorer(image), rtol=1e-5)
    gradient = jax.jit(jax.grad(lambda image: scorer(image).m))(image)
    assert gradient.shape == image.shape


def test_reconstructions_come_in_order_and_in_batches(scorer, images):
    whole = jax.jit(partial(scorer.model.apply, method="reconstruct"))(scorer.variables, images / np.float32(255))
    np.testing.assert_allclose(ju.reconstruct_images(scorer, images, batch_size=3), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("function", [ju.score_images, ju.reconstruct_images])
def test_bad_batches_are_refused(scorer, images, function):
    with pytest.raises(ValueError, match=r"\[N, 8, 8, 3\]"):
        function(scorer, images[:, :4])
    with pytest.raises(ValueError, match="empty"):
        function(scorer, images[:0])
    with pytest.raises(ValueError, match="batch_size=0"):
        function(scorer, images, batch_size=0)
    with pytest.raises(ValueError, match="NaN"):
        function(scorer, np.full(images.shape, np.nan, np.float32))


def test_decompose_refuses_another_size_even_in_vmap(scorer, images):
    with pytest.raises(ValueError, match=r"\[8, 4, 3\]; expected \[8, 8, 3\]"):
        jax.vmap(scorer)(images[:, :, :4])
    with pytest.raises(ValueError, match="divide by 255"):
        scorer(images[0].astype(np.float32))
