"""The VAE on a map of features: exact where it is linear, kept where it helps, and nowhere else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxunreg.decomposition import Decomposition
from jaxunreg.features import FeatureError, MapVAE, Whitening, WhiteningConfig, fit_map_vae, fit_whitening
from jaxunreg.features.components import principal_components, project

pytestmark = pytest.mark.slow

SHAPE = (3, 4, 2)
DIMS = 24


def draws(seed: int, count: int, directions: np.ndarray, spread: np.ndarray | None = None) -> np.ndarray:
    """Maps of unit noise in which a few latent variables move all places together."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(count, len(directions)))
    noise = rng.normal(size=(count, *SHAPE))
    if spread is not None:
        noise *= np.exp(0.5 * np.tanh(latent[:, :1, None, None]) * spread)
    return (np.tensordot(latent, directions, axes=1) + noise).astype(np.float32)


@jax.jit
def terms_of(density: Whitening | MapVAE, maps: jax.Array) -> Decomposition:
    return jax.vmap(density)(jnp.asarray(maps))


@pytest.fixture(scope="module")
def directions() -> np.ndarray:
    return 1.5 * np.random.default_rng(9).normal(size=(2, *SHAPE))


def unit_whitening() -> Whitening:
    return Whitening(
        jnp.zeros((1, 1, 2)), jnp.eye(2)[None, None], jnp.ones((1, 1)), jnp.full((1, 1), np.log(2 * np.pi), jnp.float32)
    )


def test_its_terms_are_the_exact_density_of_the_gaussian_that_it_is():
    rng = np.random.default_rng(0)
    components = np.linalg.qr(rng.normal(size=(DIMS, 3)))[0].T.astype(np.float32)
    signal = np.array([5.0, 0.5, 0.0], np.float32)
    vae = MapVAE(
        unit_whitening(), jnp.asarray(components.reshape(3, *SHAPE)), jnp.asarray(signal), jnp.zeros((7, 3, 4))
    )
    covariance = np.eye(DIMS) + (components.T * signal) @ components
    for seed in range(3):
        x = 3 * np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)
        terms = vae(jnp.asarray(x))
        want = -scipy.stats.multivariate_normal(np.zeros(DIMS), covariance).logpdf(x.ravel())
        # The terms have z at the posterior mean; the expectation of M over the posterior is more by this.
        spread = 0.5 * np.sum(signal / (1 + signal))
        assert float(jnp.sum(terms.nelbo)) + spread == pytest.approx(want, rel=1e-5)
        posterior_mean = (components @ x.ravel()) * np.sqrt(signal) / (1 + signal)
        decoded = (posterior_mean * np.sqrt(signal)) @ components
        assert float(jnp.sum(terms.m)) == pytest.approx(0.5 * np.sum((x.ravel() - decoded) ** 2), rel=1e-5)
        assert np.ptp(terms.d) == 0.0


def test_without_latent_variables_it_is_the_gaussian():
    vae = MapVAE(unit_whitening(), jnp.zeros((0, *SHAPE)), jnp.zeros(0), jnp.zeros((1, 3, 4)))
    x = jnp.asarray(draws(1, 1, np.zeros((1, *SHAPE)))[0])
    for one, other in zip(vae(x), vae.whitening(x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_components_are_never_in_memory_a_second_time_in_float32():
    shape, latent_dim = (16, 16, 32), 64
    whitening = Whitening(jnp.zeros((1, 1, 32)), jnp.eye(32)[None, None], jnp.ones((1, 1)), jnp.zeros((1, 1)))
    components = jnp.zeros((latent_dim, *shape), jnp.float16)
    vae = MapVAE(whitening, components, jnp.ones(latent_dim), jnp.zeros((2 * latent_dim + 1, *shape[:2])))
    leaves, structure = jax.tree.flatten(vae)

    def nelbo(leaves: list[jax.Array], x: jax.Array) -> jax.Array:
        return jnp.sum(jax.tree.unflatten(structure, leaves)(x).nelbo)

    for program in (nelbo, jax.grad(nelbo, argnums=1)):
        memory = jax.jit(program).lower(leaves, jnp.zeros(shape)).compile().memory_analysis()
        assert memory.temp_size_in_bytes < components.size


def test_what_moves_all_places_together_is_found_and_predicted(directions):
    train, held_out, fresh = (draws(k, n, directions) for k, n in ((0, 200), (1, 60), (2, 200)))
    fit = fit_map_vae(fit_whitening(train, WhiteningConfig(per_place=False)), train, held_out, latent_dims=(0, 1, 2, 8))
    assert fit.density.latent_dim == 2
    nats = {(row.latent_dim, row.sigma): row.nats for row in fit.table}
    assert nats[2, "common"] < nats[1, "common"] < nats[0, "common"] - 0.5
    # The whole density, on images that nothing was fitted on, is near the true one.
    covariance = np.eye(DIMS) + directions.reshape(2, -1).T @ directions.reshape(2, -1)
    truth = -scipy.stats.multivariate_normal(np.zeros(DIMS), covariance).logpdf(fresh.reshape(200, -1)).mean()
    found = float(jnp.mean(jnp.sum(terms_of(fit.density, fresh).nelbo, axis=(1, 2))))
    assert found == pytest.approx(truth, abs=2.0)
    assert nats[2, "common"] * 12 == pytest.approx(truth, abs=2.5)


def test_where_places_have_nothing_in_common_it_stays_the_gaussian_at_a_scale_of_others():
    train, held_out = (draws(k, n, np.zeros((1, *SHAPE))) for k, n in ((0, 30), (1, 40)))
    start = fit_whitening(train, WhiteningConfig(per_place=True, shrinkage=0.1))
    fit = fit_map_vae(start, train, held_out)
    assert isinstance(fit.density, Whitening)
    assert float(fit.density.scale.min()) > 1.0
    assert min(row.nats for row in fit.table) < fit.table[0].nats
    assert float(jnp.mean(terms_of(fit.density, held_out).m)) == pytest.approx(1.0, abs=1e-3)  # Half of two features.


def test_sigma_follows_the_image_where_that_predicts_better_and_only_there(directions):
    for spread, follows in ((np.ones(SHAPE) * 1.5, True), (None, False)):
        train, held_out = (draws(k, n, directions[:1], spread) for k, n in ((0, 200), (1, 150)))
        start = fit_whitening(train, WhiteningConfig(per_place=False))
        fit = fit_map_vae(start, train, held_out, latent_dims=(0, 1))
        assert any(row.sigma == "image" for row in fit.table) == follows
        assert bool(jnp.any(fit.density.log_variance != 0.0)) == follows
        if follows:
            assert fit.table[-1].nats < fit.table[-2].nats - 0.02
            constant = dataclasses.replace(fit.density, log_variance=0.0 * fit.density.log_variance)
            fresh = draws(2, 200, directions[:1], spread)
            nats = [float(jnp.mean(terms_of(density, fresh).nelbo)) for density in (fit.density, constant)]
            assert nats[0] < nats[1] - 0.02


def test_components_are_those_of_a_full_decomposition(directions):
    maps = draws(3, 20, directions)
    whitening = unit_whitening()
    found = principal_components(whitening, maps, 5)
    _, _, want = np.linalg.svd(maps.reshape(20, -1).astype(np.float64), full_matrices=False)
    np.testing.assert_allclose(np.abs(found.reshape(5, -1) @ want[:5].T), np.eye(5), atol=5e-3)
    seen = project(whitening, found, maps)
    np.testing.assert_allclose(seen.energy, np.sum(np.square(maps), axis=(1, 2, 3)), rtol=1e-5)
    # No more than there are images, less one.
    assert len(principal_components(whitening, maps[:4], 64)) == 3


def test_another_map_is_refused_and_what_is_no_number_too():
    train, held_out = draws(0, 20, np.zeros((1, *SHAPE))), draws(1, 10, np.zeros((1, *SHAPE)))
    start = fit_whitening(train, WhiteningConfig(per_place=True, shrinkage=0.5))
    with pytest.raises(FeatureError, match="NaN or infinity"):
        fit_map_vae(start, train, np.where(np.arange(2) == 1, np.nan, held_out))
    with pytest.raises(FeatureError, match="held-out features of shape"):
        fit_map_vae(start, train, held_out[:, :2])
    with pytest.raises(FeatureError, match="held-out features of shape"):
        fit_map_vae(start, train, held_out[:0])


def test_of_a_single_held_out_image_nothing_is_learned():
    train, held_out = draws(0, 20, np.zeros((1, *SHAPE))), draws(1, 1, np.zeros((1, *SHAPE)))
    start = fit_whitening(train, WhiteningConfig(per_place=True, shrinkage=0.5))
    assert fit_map_vae(start, train, held_out).density is start
