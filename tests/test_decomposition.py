"""D, A and M against scipy's densities, a Monte-Carlo estimate of the KL divergence, and their own laws."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxunreg.decomposition import (
    Decomposition,
    decompose_gaussian,
    half_squared_distance,
    kl_to_standard_normal,
    log_normalizer,
)


@pytest.fixture
def sample() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "x": rng.uniform(size=(5, 6, 3)).astype(np.float32),
        "x_mean": rng.uniform(size=(5, 6, 3)).astype(np.float32),
        "x_log_var": rng.uniform(-5, 1, size=(5, 6, 3)).astype(np.float32),
        "z_mean": rng.normal(size=7).astype(np.float32),
        "z_log_var": rng.uniform(-3, 1, size=7).astype(np.float32),
    }


def test_a_and_m_are_scipys_negative_log_density(sample):
    a = log_normalizer(jnp.asarray(sample["x_log_var"]))
    m = half_squared_distance(*(jnp.asarray(sample[name]) for name in ("x", "x_mean", "x_log_var")))
    wanted = -scipy.stats.norm.logpdf(sample["x"], sample["x_mean"], np.exp(0.5 * sample["x_log_var"]))
    np.testing.assert_allclose(a + m, wanted, rtol=2e-5, atol=2e-5)
    # A alone is the negative log-density at the mean, where the distance is zero.
    peak = -scipy.stats.norm.logpdf(0.0, 0.0, np.exp(0.5 * sample["x_log_var"]))
    np.testing.assert_allclose(a, peak, rtol=2e-5, atol=2e-5)


def test_d_is_within_four_sigma_of_its_monte_carlo_estimate(sample):
    mean, scale = sample["z_mean"].astype(np.float64), np.exp(0.5 * sample["z_log_var"].astype(np.float64))
    z = mean + scale * np.random.default_rng(1).normal(size=(200_000, 7))
    log_ratio = (scipy.stats.norm.logpdf(z, mean, scale) - scipy.stats.norm.logpdf(z)).sum(axis=1)
    d = kl_to_standard_normal(jnp.asarray(sample["z_mean"]), jnp.asarray(sample["z_log_var"])).sum()
    assert abs(float(d) - log_ratio.mean()) < 4 * log_ratio.std() / np.sqrt(len(z))


def test_d_is_zero_at_the_prior_and_above_zero_elsewhere():
    assert float(kl_to_standard_normal(jnp.zeros(()), jnp.zeros(()))) == 0.0
    log_var = jnp.linspace(-8.0, 4.0, 49)
    d = kl_to_standard_normal(jnp.zeros_like(log_var), log_var)
    assert (np.delete(np.asarray(d), 32) > 0).all()  # log_var[32] is 0.


def test_d_keeps_its_digits_next_to_the_prior():
    # 1/2 (exp(v) - 1 - v) = v^2 / 4 + O(v^3); computed as exp(v) - 1 it would be off by a third in float32.
    v = np.float32(1e-3)
    assert float(kl_to_standard_normal(jnp.zeros(()), jnp.asarray(v))) == pytest.approx(2.5e-7, rel=5e-2)


def test_reduced_terms_sum_the_elements(sample):
    terms = decompose_gaussian(**{name: jnp.asarray(array) for name, array in sample.items()})
    wide = {name: array.astype(np.float64) for name, array in sample.items()}
    density = scipy.stats.norm.logpdf(wide["x"], wide["x_mean"], np.exp(0.5 * wide["x_log_var"])).sum()
    np.testing.assert_allclose(terms.a + terms.m, -density, rtol=1e-5)
    np.testing.assert_allclose(terms.nelbo, terms.d - density, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.1, 3.0])
def test_scaling_residual_and_sigma_together_leaves_m_and_moves_a_by_n_log_c(sample, scale):
    arrays = {name: jnp.asarray(array) for name, array in sample.items()}
    before = decompose_gaussian(**arrays)
    scaled = dict(arrays)
    scaled["x"] = arrays["x_mean"] + scale * (arrays["x"] - arrays["x_mean"])
    scaled["x_log_var"] = arrays["x_log_var"] + 2 * np.float32(np.log(scale))
    after = decompose_gaussian(**scaled)
    np.testing.assert_allclose(after.m, before.m, rtol=1e-5)
    np.testing.assert_allclose(after.a - before.a, arrays["x"].size * np.log(scale), rtol=1e-5)
    assert float(after.d) == float(before.d)


def test_jit_equals_no_jit_and_vmap_equals_a_loop(sample):
    batch = [
        jnp.stack([jnp.asarray(array)] * 3) * jnp.array([1.0, 0.5, 0.2]).reshape(3, *[1] * array.ndim)
        for array in sample.values()
    ]
    loop = [decompose_gaussian(*(leaf[k] for leaf in batch)) for k in range(3)]
    chex.assert_trees_all_close(
        jax.vmap(decompose_gaussian)(*batch), jax.tree.map(lambda *t: jnp.stack(t), *loop), rtol=1e-5
    )
    chex.assert_trees_all_close(
        jax.jit(jax.vmap(decompose_gaussian))(*batch), jax.vmap(decompose_gaussian)(*batch), rtol=1e-5
    )


def test_the_gradient_of_m_is_the_residual_over_the_variance(sample):
    arrays = {name: jnp.asarray(array) for name, array in sample.items()}
    gradient = jax.grad(lambda x: decompose_gaussian(**{**arrays, "x": x}).m)(arrays["x"])
    wanted = (sample["x"] - sample["x_mean"]) / np.exp(sample["x_log_var"])
    np.testing.assert_allclose(gradient, wanted, rtol=1e-5)


def test_a_decomposition_is_a_pytree_of_numpy_or_jax_arrays():
    terms = Decomposition(d=np.full(2, 1.0), a=np.full(2, 2.0), m=np.full(2, 4.0))
    np.testing.assert_array_equal(terms.nelbo, [7.0, 7.0])
    assert [leaf.sum() for leaf in jax.tree.leaves(terms)] == [2.0, 4.0, 8.0]
