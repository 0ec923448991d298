"""The linear start: it reconstructs like a PCA, sigma depends on the image, and training goes on from there."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from sklearn.decomposition import PCA

import jaxunreg as ju
from jaxunreg.models.linear_start import random_features, variances
from jaxunreg.models.linear_start.block_pca import linear_channels
from jaxunreg.nn.soft_clip import inverse_soft_clip, soft_clip
from jaxunreg.training.state import init_state, starting_state

pytestmark = pytest.mark.slow

SIZES = {"image_shape": (16, 16, 3), "depth": 2, "base_channels": 8, "latent_dim": 10}


def smooth_images(n: int, *, contrast: np.ndarray | None = None, seed: int = 0, size: int = 16) -> np.ndarray:
    """Images of falling spectrum, whose contrast may differ from one to the next."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.rfftfreq(size), indexing="ij"))
    waves = np.fft.rfft2(rng.normal(size=(n, size, size, 3)), axes=(1, 2)) / (0.05 + frequency[..., None]) ** 1.5
    images = np.fft.irfft2(waves, s=(size, size), axes=(1, 2))
    images *= 0.1 / images.std()
    if contrast is not None:
        images *= contrast.reshape(-1, 1, 1, 1)
    return np.clip(0.5 + images, 0.0, 1.0).astype(np.float32)


@pytest.mark.parametrize("kind", ["vae", "autoencoder"])
def test_it_reconstructs_as_scikit_learns_pca_does(kind):
    images = smooth_images(600)
    model = ju.VAE(ju.VAEConfig(**SIZES)) if kind == "vae" else ju.Autoencoder(ju.AutoencoderConfig(**SIZES))
    scorer = ju.make_scorer(model, model.linear_start(images, jax.random.key(0)))
    flat = images.reshape(600, -1)
    pca = PCA(SIZES["latent_dim"]).fit(flat)
    best = np.mean((flat - pca.inverse_transform(pca.transform(flat))) ** 2)
    error = np.mean((np.asarray(ju.reconstruct_images(scorer, images)) - images) ** 2)
    # Components about zero and not about the mean, and shrunk by the posterior: no better, and little worse.
    assert best * 0.99 < error < 1.1 * best


def test_it_is_linear_on_the_images_it_has_seen():
    images = smooth_images(300)
    model = ju.Autoencoder(ju.AutoencoderConfig(**SIZES))
    scorer = ju.make_scorer(model, model.linear_start(images, jax.random.key(0)))
    a, b = images[:50], images[50:100]
    whole, half, other = (np.asarray(ju.reconstruct_images(scorer, part)) for part in (a, 0.5 * (a + b), b))
    np.testing.assert_allclose(half, 0.5 * (whole + other), atol=1e-4)


def test_sigma_follows_how_much_of_an_image_is_missed():
    contrast = np.random.default_rng(1).lognormal(0.0, 0.5, 800)
    images = smooth_images(800, contrast=contrast / contrast.max())
    model = ju.VAE(ju.VAEConfig(**SIZES))
    variables = model.linear_start(images[:600], jax.random.key(0))
    posterior, likelihood = jax.jit(model.apply)(variables, images[600:])
    missed = np.log(np.mean((np.asarray(likelihood.mean) - images[600:]) ** 2, axis=(1, 2, 3)))
    for log_var in (likelihood.log_var.mean(axis=(1, 2, 3)), posterior.log_var.mean(axis=1)):
        assert scipy.stats.spearmanr(missed, log_var).statistic > 0.8
    terms = jax.jit(lambda of, images: model.apply(of, images, method=model.terms))(variables, images[600:])
    # Half of the number of values is what M is where sigma is right.
    assert 0.6 < np.mean(terms.m) / (0.5 * images[0].size) < 1.2
    # Errors of rounding have nothing to do with what is missed, and add to M. How much is up to the compiler: JAX 0.12
    # adds 0.1 %, earlier versions more.
    narrow = model.native("bfloat16")
    rounded = jax.jit(lambda of, images: narrow.apply(of, images, method=narrow.terms))(variables, images[600:])
    assert np.mean(rounded.m) > np.mean(terms.m)
    assert np.mean(np.abs(rounded.m - terms.m)) > 2e-3 * np.mean(terms.m)
    assert (model.arithmetic, narrow.arithmetic) == ("float32", "bfloat16, native")


LEVEL_SIZES = {**SIZES, "depth": 3, "base_channels": 24}


@pytest.fixture(scope="module")
def with_level() -> tuple[ju.VAE, dict, np.ndarray]:
    """A model, its start with a level, and images of all contrasts that were held out."""
    contrast = np.random.default_rng(1).lognormal(0.0, 0.5, 600)
    images = smooth_images(600, contrast=contrast / contrast.max())
    model = ju.VAE(ju.VAEConfig(**LEVEL_SIZES))
    return model, model.linear_start(images[:400], jax.random.key(0), level=True), images[400:]


def test_the_level_follows_what_is_missed_and_hardly_a_small_anomaly(with_level):
    model, variables, images = with_level
    apply = jax.jit(model.apply)
    (mean, log_var), likelihood = apply(variables, images)
    missed = np.log(np.mean((np.asarray(likelihood.mean) - images) ** 2, axis=(1, 2, 3)))
    # With single components in place of sums from the middle of their order it is 0.986.
    assert scipy.stats.spearmanr(missed, mean[:, -1]).statistic > 0.989
    np.testing.assert_allclose(np.std(mean[:, -1]), 1.0, atol=0.2)
    np.testing.assert_allclose(log_var[:, -1], -5.0, atol=1e-3)
    erased = images.copy()
    erased[:, 6:10, 6:10] = 1.0
    (moved, _), of_erased = apply(variables, erased)
    more = np.log(np.mean((np.asarray(of_erased.mean) - erased) ** 2, axis=(1, 2, 3))) - missed
    # In units of its own spread, what is missed grows far more than the level.
    assert np.mean(moved[:, -1] - mean[:, -1]) < 0.3 * np.mean(more) / missed.std()


def test_sigma_follows_the_level(with_level):
    model, variables, images = with_level
    posterior, likelihood = jax.jit(model.apply)(variables, images)
    decode = jax.jit(lambda of, z: model.apply(of, z, method=model.decode))
    z = jnp.zeros((3, SIZES["latent_dim"])).at[:, -1].set(jnp.array([-1.0, 0.0, 1.0]))
    low, middle, high = decode(variables, z).log_var.mean((1, 2, 3))
    assert low < middle < high
    without = decode(variables, posterior.mean.at[:, -1].set(0.0))
    np.testing.assert_allclose(without.mean, likelihood.mean, atol=1e-4)
    squared = np.square(images - np.asarray(likelihood.mean))
    spread = [np.std(np.log(np.sum(squared * np.exp(-one.log_var), (1, 2, 3)))) for one in (likelihood, without)]
    assert spread[0] < 0.5 * spread[1]


def test_a_level_needs_room():
    images = smooth_images(20)
    for sizes, wanted in (
        ({"depth": 2}, "got depth=2 with latent_dim=10; expected at least 3 layers and 2 latent dimensions"),
        ({"latent_dim": 1}, "got depth=3 with latent_dim=1"),
        ({"base_channels": 8}, "got base_channels=8; expected at least 5 random features in each layer"),
    ):
        model = ju.VAE(ju.VAEConfig(**{**LEVEL_SIZES, **sizes}))
        with pytest.raises(ValueError, match=wanted):
            model.linear_start(images, jax.random.key(0), level=True)
    autoencoder = ju.Autoencoder(ju.AutoencoderConfig(**SIZES))
    with pytest.raises(ValueError, match="got start='linear_level' with an Autoencoder"):
        autoencoder.linear_start(images, jax.random.key(0), level=True)


def test_more_of_the_channels_are_linear_where_the_latent_space_needs_them():
    sizes = {"image_shape": (32, 32, 3), "base_channels": 32}
    few, many = (linear_channels(ju.VAEConfig(**sizes, latent_dim=n)) for n in (768, 769))
    assert few == [12, 48, 96, 192]
    assert many == [12, 48, 122, 248]


def test_the_order_of_the_images_does_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    smooth = np.repeat(np.repeat(rng.uniform(0.4, 0.6, (64, 4, 4, 1)), 4, 1), 4, 2)
    textured = rng.uniform(0.0, 1.0, (192, 16, 16, 1))
    images = np.concatenate([smooth, textured]).astype(np.float32)
    # As with more images than the random features are measured on.
    for module in (random_features, variances):
        monkeypatch.setattr(module, "images_within", lambda config, values: 48)
    model = ju.VAE(ju.VAEConfig(image_shape=(16, 16, 1), depth=2, base_channels=8, latent_dim=8))

    def start(images):
        scorer = ju.make_scorer(model, model.linear_start(images, jax.random.key(0)))
        return np.mean(ju.score_images(scorer, textured.astype(np.float32)).nelbo)

    by_kind, mixed = start(images), start(images[rng.permutation(len(images))])
    assert abs(by_kind - mixed) < 10.0


def test_it_beats_many_steps_from_random_weights():
    images = smooth_images(400)
    config = ju.TrainConfig(steps=50, batch_size=64)
    model = ju.VAE(ju.VAEConfig(**SIZES))
    trained = ju.fit(model, images, config, key=jax.random.key(0), progress=False).variables
    started = model.linear_start(images, jax.random.key(0))
    held_out = smooth_images(200, seed=5)
    nats = [ju.score_images(ju.make_scorer(model, v), held_out).nelbo.mean() for v in (started, trained)]
    assert nats[0] < nats[1] - 100.0


@pytest.mark.parametrize(
    "sizes",
    [
        {"image_shape": (8, 8, 1), "depth": 1, "base_channels": 2, "latent_dim": 3},
        {"image_shape": (16, 32, 1), "depth": 3, "base_channels": 2, "latent_dim": 90},  # more than there are features
        {"image_shape": (8, 8, 1), "depth": 3, "base_channels": 4, "latent_dim": 40},  # more than there are images
    ],
)
def test_any_network_can_start_so(sizes):
    model = ju.VAE(ju.VAEConfig(**sizes))
    images = np.random.default_rng(0).random((30, *sizes["image_shape"]), np.float32)
    variables = model.linear_start(images, jax.random.key(0))
    like = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *sizes["image_shape"])))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), variables) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), like
    )
    terms = ju.score_images(ju.make_scorer(model, variables), images)
    assert np.isfinite(terms.nelbo).all()


@pytest.mark.parametrize("level", [False, True])
def test_constant_images_make_finite_weights(level):
    model = ju.VAE(ju.VAEConfig(**(LEVEL_SIZES if level else SIZES)))
    variables = model.linear_start(np.full((20, 16, 16, 3), 77, np.uint8), jax.random.key(0), level=level)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))


def test_what_it_refuses():
    model = ju.VAE(ju.VAEConfig(**SIZES))
    with pytest.raises(ValueError, match="got 1 image; expected at least 2"):
        model.linear_start(smooth_images(1), jax.random.key(0))
    with pytest.raises(ValueError, match="expected"):
        model.linear_start(smooth_images(4, size=8), jax.random.key(0))
    narrow = ju.VAE(ju.VAEConfig(**{**SIZES, "base_channels": 1}))
    with pytest.raises(ValueError, match="got base_channels=1; expected at least 2"):
        narrow.linear_start(smooth_images(4), jax.random.key(0))
    with pytest.raises(ValueError, match="got batch_statistics='fixed' with start='random'; expected start='linear'"):
        ju.TrainConfig(batch_statistics="fixed")


def test_fixed_statistics_stay_and_training_improves_the_start():
    images = smooth_images(600)
    config = ju.TrainConfig(
        steps=60, batch_size=64, learning_rate=3e-5, warmup_steps=10, start="linear", batch_statistics="fixed"
    )
    model = ju.VAE(ju.VAEConfig(**SIZES))
    start = starting_state(model, config, jax.random.key(0), images)
    end = ju.fit(model, images, config, key=jax.random.key(0), progress=False)
    for before, after in zip(
        jax.tree.leaves(start.variables["batch_stats"]), jax.tree.leaves(end.variables["batch_stats"]), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    nats = [ju.score_images(ju.make_scorer(model, s.variables), images).nelbo.mean() for s in (start, end)]
    assert nats[1] < nats[0]


def test_small_images_give_no_more_crops_than_they_have_places_for(monkeypatch):
    """Of 3 x 1 and 1 x 2 places; some 8,000 crops an image would be copies of copies."""
    seen = []
    monkeypatch.setattr(ju.VAE, "linear_start", lambda self, crops, key, level: seen.append(crops))
    height, width, channels = SIZES["image_shape"]
    images = [np.zeros((height + more[0], width + more[1], channels), np.uint8) for more in ((2, 0), (0, 1))]
    starting_state(ju.VAE(ju.VAEConfig(**SIZES)), ju.TrainConfig(steps=1, start="linear"), jax.random.key(0), images)
    [crops] = seen
    assert crops.shape == (2 * 4 * 3, height, width, channels)


def test_another_start_of_an_equal_model_compiles_nothing(compiled, monkeypatch):
    for module in (random_features, variances):  # The last batch is smaller.
        monkeypatch.setattr(module, "images_within", lambda config, values: values // 2**15)
    config = ju.VAEConfig(**{**SIZES, "base_channels": 4, "latent_dim": 3})
    images = smooth_images(80)
    programs = variances._encoded, variances._decoded
    before = [program._cache_size() for program in programs]
    ju.VAE(config).linear_start(images[:40], jax.random.key(0))
    assert [program._cache_size() for program in programs] == [count + 1 for count in before]
    compiled.clear()
    ju.VAE(config).linear_start(images[40:], jax.random.key(1))
    assert not compiled


def test_a_stopped_run_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxunreg.training.state.PIXELS", 2**20)  # fewer crops than are drawn in earnest
    images = list(smooth_images(20, size=24))  # larger than the model's, so that crops are drawn
    model = ju.VAE(ju.VAEConfig(**SIZES))
    config = ju.TrainConfig(steps=8, batch_size=4, steps_per_dispatch=2, checkpoint_every=4, start="linear")

    class Stop(Exception):
        pass

    def stop(variables):
        raise Stop

    once = ju.fit(model, images, config, key=jax.random.key(0), progress=False)
    stopping = dataclasses.replace(config, evaluate_every=6)
    with pytest.raises(Stop):
        ju.fit(model, images, stopping, key=jax.random.key(0), evaluate=stop, directory=tmp_path, progress=False)
    again = ju.fit(model, images, stopping, key=jax.random.key(0), directory=tmp_path, progress=False)
    for a, b in zip(jax.tree.leaves(once.variables), jax.tree.leaves(again.variables), strict=True):
        np.testing.assert_array_equal(a, b)


def test_members_of_a_sweep_start_as_they_would_alone():
    images = smooth_images(80)
    model = ju.VAE(ju.VAEConfig(**{**SIZES, "base_channels": 4}))
    config = ju.TrainConfig(steps=2, batch_size=16, learning_rate=1e-5, start="linear", batch_statistics="fixed")
    result = ju.fit_sweep(model, images, config, [ju.Member(seed=0), ju.Member(seed=1, latent_dim=4)], progress=False)
    small, variables = result.variables(1)
    alone = ju.fit(small, images, config, key=jax.random.key(1), progress=False)
    for a, b in zip(jax.tree.leaves(variables), jax.tree.leaves(alone.variables), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4, rtol=1e-3)


def test_a_random_start_is_what_it_was():
    model = ju.VAE(ju.VAEConfig(**SIZES))
    config = ju.TrainConfig(steps=1)
    state = starting_state(model, config, jax.random.key(3), smooth_images(4))
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(init_state(model, config, jax.random.key(3))), strict=True):
        assert jnp.array_equal(a, b)


def test_the_inverse_of_the_soft_clip_is_its_inverse():
    inside = np.linspace(-13.9, 1.9, 50)
    back = soft_clip(jnp.asarray(inverse_soft_clip(inside, -14.0, 2.0), jnp.float32), -14.0, 2.0)
    np.testing.assert_allclose(back, inside, atol=1e-3)
