"""Gaussians of features against SciPy's densities and scikit-learn's covariances, and their own laws."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
from sklearn.covariance import EmpiricalCovariance

from jaxunreg.errors import ArgumentError
from jaxunreg.features.choosing import best_config, held_out_nats
from jaxunreg.features.fitting import fit_whitening, inflate
from jaxunreg.features.moments import RIDGE
from jaxunreg.features.network import FeatureError
from jaxunreg.features.triangular import inverse_lower
from jaxunreg.features.whitening import WhiteningConfig

pytestmark = pytest.mark.slow

ALL = WhiteningConfig(per_place=False)
CONFIGS = [ALL, *(WhiteningConfig(per_place=True, shrinkage=s) for s in (0.0, 0.3, 1.0))]
ROWS, COLUMNS, CHANNELS = 3, 4, 12


def correlated(images: int, seed: int = 0) -> np.ndarray:
    """Features with another mean and another covariance at each place."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).normal(0, 0.4, (ROWS, COLUMNS, CHANNELS, CHANNELS)) + 2 * np.eye(CHANNELS)
    mean = np.random.default_rng(8).normal(0, 5, (ROWS, COLUMNS, CHANNELS))
    noise = rng.normal(size=(images, ROWS, COLUMNS, CHANNELS))
    return (mean + np.einsum("nijc,ijcd->nijd", noise, mixing)).astype(np.float32)


def by_hand(features: np.ndarray, config: WhiteningConfig) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of each place by NumPy's `cov`, in float64."""
    wide = features.astype(np.float64)
    if not config.per_place:
        flat = wide.reshape(-1, CHANNELS)
        shared = np.cov(flat.T)
        mean, covariance = np.broadcast_to(flat.mean(0), wide.shape[1:]), shared
    else:
        mean = wide.mean(axis=0)
        places = np.array([[np.cov(wide[:, i, j].T) for j in range(COLUMNS)] for i in range(ROWS)])
        shared = places.mean(axis=(0, 1))
        covariance = (1 - config.shrinkage) * places + config.shrinkage * shared
    ridge = RIDGE * np.trace(shared) / CHANNELS
    return mean, np.broadcast_to(covariance + ridge * np.eye(CHANNELS), (ROWS, COLUMNS, CHANNELS, CHANNELS))


@pytest.mark.parametrize("config", CONFIGS)
def test_a_and_m_are_scipys_negative_log_density(config):
    features = correlated(60)
    whitening = fit_whitening(features, config)
    mean, covariance = by_hand(features, config)
    x = correlated(1, seed=1)[0]
    terms = whitening(jnp.asarray(x))
    assert terms.m.shape == terms.a.shape == terms.d.shape == (ROWS, COLUMNS)
    for place in np.ndindex(ROWS, COLUMNS):
        density = scipy.stats.multivariate_normal(mean[place], covariance[place])
        np.testing.assert_allclose(terms.nelbo[place], -density.logpdf(x[place]), rtol=1e-3)
        np.testing.assert_allclose(terms.a[place], -density.logpdf(mean[place]), rtol=1e-4)
    np.testing.assert_array_equal(terms.d, 0.0)


def test_m_is_half_the_squared_mahalanobis_distance_of_scikit_learn():
    features = correlated(200)
    x = correlated(1, seed=1)[0]
    m = fit_whitening(features, WhiteningConfig(per_place=True))(jnp.asarray(x)).m
    for place in np.ndindex(ROWS, COLUMNS):
        # It divides by the number of images, and an unbiased estimate by one less.
        squared = EmpiricalCovariance().fit(features[:, *place]).mahalanobis(x[None][:, *place])[0]
        np.testing.assert_allclose(m[place], 0.5 * squared * 199 / 200, rtol=1e-3)


def test_a_known_gaussian_gets_its_nats():
    """The mean of A + M over fresh samples is the entropy of the Gaussian, and that of M half the dimensions."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(CHANNELS, CHANNELS)) + 2 * np.eye(CHANNELS)
    shape = (500, 4, 5, CHANNELS)
    features, fresh = ((rng.normal(size=shape) @ mixing + 3.0).astype(np.float32) for _ in range(2))
    (entry,) = held_out_nats(features, fresh, [ALL])
    entropy = scipy.stats.multivariate_normal(cov=mixing.T @ mixing).entropy()
    # The estimate costs about (dimensions + dimensions^2 / 2) / (2 samples) nats on top.
    excess = (CHANNELS + CHANNELS * (CHANNELS + 1) / 2) / (2 * 10_000)
    assert abs(entry.nats - entropy - excess) < 4 * entry.standard_error
    m = jax.vmap(fit_whitening(features, ALL))(jnp.asarray(fresh)).m
    assert abs(float(m.mean()) - CHANNELS / 2) < 4 * float(m.std()) / m.size**0.5 + excess


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("scale", [0.01, 3.0])
def test_scaling_all_features_moves_a_by_their_number_times_log_c_and_m_and_d_not_at_all(config, scale):
    features, x = correlated(40), jnp.asarray(correlated(1, seed=1)[0])
    before = fit_whitening(features, config)(x)
    after = fit_whitening(features * np.float32(scale), config)(x * scale)
    np.testing.assert_allclose(after.m, before.m, rtol=2e-3)
    np.testing.assert_allclose(after.a - before.a, CHANNELS * np.log(scale), rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(after.d, before.d)


def test_the_log_determinant_carries_a_density_of_whitened_features_over():
    features = correlated(60)
    whitening = fit_whitening(features, CONFIGS[2])
    x = jnp.asarray(features[0])
    y = whitening.whiten(x)
    of_y = -scipy.stats.norm.logpdf(np.asarray(y)).sum(axis=2)
    np.testing.assert_allclose(of_y + whitening.log_determinant, whitening(x).nelbo, rtol=1e-4)
    jacobian = jax.jacobian(lambda place: whitening.whiten(x.at[1, 2].set(place))[1, 2])(x[1, 2])
    np.testing.assert_allclose(-np.linalg.slogdet(jacobian)[1], whitening.log_determinant[1, 2], rtol=1e-3)


@pytest.mark.parametrize("config", CONFIGS)
def test_held_out_nats_are_those_of_the_fitted_gaussian(config):
    features, held_out = correlated(60), correlated(9, seed=1)
    (entry,) = held_out_nats(features, held_out, [config])
    nats = jax.vmap(fit_whitening(features, config))(jnp.asarray(held_out)).nelbo.mean(axis=(1, 2))
    np.testing.assert_allclose(entry.nats, nats.mean(), rtol=1e-4)
    np.testing.assert_allclose(entry.standard_error, nats.std(ddof=1) / 3, rtol=1e-2)


def test_held_out_nats_choose_by_what_the_features_are():
    fixture, fresh = correlated(100), correlated(30, seed=1)
    assert best_config(held_out_nats(fixture, fresh)).per_place
    rng = np.random.default_rng(0)
    texture, other = (rng.normal(size=(n, ROWS, COLUMNS, CHANNELS)).astype(np.float32) for n in (100, 30))
    assert not best_config(held_out_nats(texture, other)).per_place
    # A mean a place, and little else: with few images the covariances of the places are noise.
    mean = rng.normal(0, 3, (ROWS, COLUMNS, CHANNELS)).astype(np.float32)
    chosen = best_config(held_out_nats(texture[:13] + mean, other + mean))
    assert chosen.per_place
    assert chosen.shrinkage >= 0.8


def test_one_gaussian_takes_maps_of_any_size_and_is_the_same_at_each_place():
    whitening = fit_whitening(correlated(20), ALL)
    x = jnp.asarray(correlated(1, seed=1)[0])
    wide = jnp.concatenate([x, x[::-1]], axis=1)
    np.testing.assert_allclose(whitening(wide).m[:, :COLUMNS], whitening(x).m, rtol=1e-5)


@pytest.mark.parametrize("config", CONFIGS)
def test_it_composes(config):
    whitening = fit_whitening(correlated(40), config)
    batch = jnp.asarray(correlated(5, seed=1))
    loop = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[whitening(x) for x in batch])
    passed = jax.jit(lambda own, x: jax.vmap(own)(x))(whitening, batch)
    chex.assert_trees_all_close(passed, loop, rtol=1e-4)
    gradient = jax.grad(lambda x: whitening(x).m.sum())(batch[0])
    factor = jnp.broadcast_to(whitening.factor, (ROWS, COLUMNS, CHANNELS, CHANNELS))
    wanted = jnp.einsum("ijd,ijcd->ijc", whitening.whiten(batch[0]), factor)
    np.testing.assert_allclose(gradient, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("config", CONFIGS)
def test_inflated_to_held_out_images_m_is_half_the_features_on_them(config):
    features, held_out = correlated(30), jnp.asarray(correlated(50, seed=1))
    wider = inflate(fit_whitening(features, config), held_out, prior_images=0.0)
    m = jax.vmap(wider)(held_out).m.mean(axis=0)
    np.testing.assert_allclose(m if config.per_place else m.mean(), CHANNELS / 2, rtol=1e-3)
    # It is still a density: A + M is scipy's, with the covariance multiplied.
    mean, covariance = by_hand(features, config)
    x, scale = held_out[0], np.broadcast_to(wider.scale, (ROWS, COLUMNS))
    for place in np.ndindex(ROWS, COLUMNS):
        density = scipy.stats.multivariate_normal(mean[place], covariance[place] * scale[place] ** 2)
        np.testing.assert_allclose(wider(x).nelbo[place], -density.logpdf(np.asarray(x[place])), rtol=1e-3)


def test_inflation_brings_the_nats_of_further_images_down_where_images_are_few():
    features, held_out, further = (
        correlated(16),
        jnp.asarray(correlated(20, seed=1)),
        jnp.asarray(correlated(50, seed=2)),
    )
    whitening = fit_whitening(features, WhiteningConfig(per_place=True, shrinkage=0.1))
    before, after = (jax.vmap(own)(further).nelbo.mean() for own in (whitening, inflate(whitening, held_out)))
    assert float(after) < float(before) - 1.0
    # A second time changes nothing: an inflated Gaussian already has its wanted distances.
    again = inflate(inflate(whitening, held_out, prior_images=0.0), held_out, prior_images=0.0)
    np.testing.assert_allclose(again.scale, inflate(whitening, held_out, prior_images=0.0).scale, rtol=1e-4)


def test_a_large_prior_inflates_all_places_alike():
    features, held_out = correlated(30), correlated(5, seed=1)
    scale = inflate(fit_whitening(features, CONFIGS[2]), held_out, prior_images=1e6).scale
    np.testing.assert_allclose(scale, scale.mean(), rtol=1e-4)


def test_inflation_needs_held_out_images_that_are_finite():
    whitening = fit_whitening(correlated(20), ALL)
    with pytest.raises(FeatureError, match="no held-out images; expected at least 1; hold out normal images"):
        inflate(whitening, correlated(2)[:0])
    with pytest.raises(FeatureError, match="NaN or infinity, first in image 1 at row 0, column 0"):
        inflate(whitening, np.stack([correlated(1)[0], np.full((ROWS, COLUMNS, CHANNELS), np.inf, np.float32)]))


def test_memory_mapped_float16_maps_will_do(tmp_path):
    features = correlated(40).astype(np.float16)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r")
    own, wanted = (fit_whitening(maps, CONFIGS[2]) for maps in (mapped, features.astype(np.float32)))
    chex.assert_trees_all_close(own, wanted, rtol=1e-6)


def test_a_channel_that_is_never_active_and_a_copy_of_a_channel_keep_everything_finite():
    features = correlated(40)
    features[..., 3] = 0.0
    features[..., 4] = features[..., 5]
    for config in CONFIGS:
        terms = fit_whitening(features, config)(jnp.asarray(features[0]))
        chex.assert_tree_all_finite(terms)
        assert float(terms.m.max()) < 10 * CHANNELS


def test_what_cannot_be_fitted_ends_in_a_sentence():
    features = correlated(20)
    for config in (ALL, CONFIGS[2]):
        with pytest.raises(FeatureError, match="got 1 images to fit to; expected at least 2; add normal images"):
            fit_whitening(features[:1], config)
        with pytest.raises(
            FeatureError, match=r"3 images with maps of 1x2, too few for a covariance of 12 features; exp"
        ):
            fit_whitening(features[:3, :1, :2], config)
        with pytest.raises(FeatureError, match="features of 20 images that do not vary"):
            fit_whitening(np.ones_like(features), config)
        damaged = features.copy()
        damaged[7, 2, 1, 5] = np.nan
        with pytest.raises(FeatureError, match="first in image 7 at row 2, column 1; expected finite numbers; look at"):
            fit_whitening(damaged, config)
        with pytest.raises(FeatureError, match="first in image 7 at row 2, column 1"):
            held_out_nats(features, damaged, [config])
    with pytest.raises(
        FeatureError, match=r"held-out features of shape \[20, 3, 3, 12\]; expected \[images, 3, 4, 12\]"
    ):
        held_out_nats(features, features[:, :, 1:])
    with pytest.raises(FeatureError, match="pass at least one image"):
        held_out_nats(features, features[:0])


def test_maps_that_do_not_fit_end_in_a_sentence():
    whitening = fit_whitening(correlated(20), CONFIGS[2])
    with pytest.raises(FeatureError, match="11 features a place; expected 12, .* use the feature network of the fit"):
        whitening(jnp.zeros((ROWS, COLUMNS, 11)))
    with pytest.raises(FeatureError, match="a map of 3x5; expected 3x4, since each place has its own Gaussian; resi"):
        whitening(jnp.zeros((ROWS, 5, CHANNELS)))


def test_a_config_says_what_it_takes():
    with pytest.raises(ArgumentError, match=r"got shrinkage=1.5; expected a number in \[0, 1\]"):
        WhiteningConfig(per_place=True, shrinkage=1.5)
    with pytest.raises(ArgumentError, match="got shrinkage=0.3; expected 0 with one Gaussian for all places"):
        WhiteningConfig(per_place=False, shrinkage=0.3)


@pytest.mark.parametrize("size", [1, 2, 7, 10, 11, 45])
def test_the_inverse_of_triangular_matrices_is_scipys(size):
    rng = np.random.default_rng(0)
    lower = (np.tril(rng.normal(0, 0.3, (2, 3, size, size)), -1) + np.eye(size)).astype(np.float32)
    own = inverse_lower(jnp.asarray(lower))
    for index in np.ndindex(2, 3):
        wanted = scipy.linalg.solve_triangular(lower[index].astype(np.float64), np.eye(size), lower=True)
        np.testing.assert_allclose(own[index], wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
