"""The mixture's D, A and M against scikit-learn, scipy and closed forms."""

from collections.abc import Iterator
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats
import sklearn.mixture

from jaxunreg.decomposition import Decomposition
from jaxunreg.mixture import gmm_component_terms, gmm_decompose, gmm_map_component

FEATURES = 5


class Fitted(NamedTuple):
    mixture: sklearn.mixture.GaussianMixture
    x: np.ndarray

    def parameters(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        return tuple(
            jnp.asarray(a) for a in (self.mixture.weights_, self.mixture.means_, self.mixture.precisions_cholesky_)
        )


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision, so that a disagreement is an error and not rounding."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture(scope="module", params=[1, 3], ids=["one component", "three components"])
def fitted(request: pytest.FixtureRequest) -> Fitted:
    rng = np.random.default_rng(0)
    centers = rng.normal(scale=4.0, size=(3, FEATURES))
    x = centers[rng.integers(3, size=400)] + rng.normal(size=(400, FEATURES)) @ rng.normal(size=(FEATURES, FEATURES))
    mixture = sklearn.mixture.GaussianMixture(request.param, random_state=0, max_iter=500).fit(x)
    return Fitted(mixture, x[:50])


def batch(function, x: np.ndarray, *parameters: jax.Array):
    return jax.vmap(function, in_axes=(0, None, None, None))(jnp.asarray(x), *parameters)


@pytest.mark.usefixtures("x64")
def test_terms_of_a_component_are_scipys_log_density(fitted: Fitted) -> None:
    terms = batch(gmm_component_terms, fitted.x, *fitted.parameters())
    for k, weight in enumerate(fitted.mixture.weights_):
        density = scipy.stats.multivariate_normal(fitted.mixture.means_[k], fitted.mixture.covariances_[k])
        np.testing.assert_allclose(-(terms.a + terms.m)[:, k], density.logpdf(fitted.x), rtol=1e-9)
        np.testing.assert_allclose(terms.d[:, k], -np.log(weight), rtol=1e-12)
        # A is the rest of the density at its mode, where M vanishes.
        np.testing.assert_allclose(-terms.a[:, k], density.logpdf(fitted.mixture.means_[k]), rtol=1e-9)


@pytest.mark.usefixtures("x64")
def test_all_components_together_are_scikit_learns_likelihood_and_posterior(fitted: Fitted) -> None:
    joint = -batch(gmm_component_terms, fitted.x, *fitted.parameters()).nelbo
    np.testing.assert_allclose(
        scipy.special.logsumexp(joint, axis=1), fitted.mixture.score_samples(fitted.x), rtol=1e-9
    )
    np.testing.assert_allclose(
        scipy.special.softmax(joint, axis=1), fitted.mixture.predict_proba(fitted.x), rtol=1e-7, atol=1e-12
    )


@pytest.mark.usefixtures("x64")
def test_decompose_is_at_the_map_component(fitted: Fitted) -> None:
    terms = batch(gmm_decompose, fitted.x, *fitted.parameters())
    component = fitted.mixture.predict(fitted.x)
    assert len(np.unique(component)) == fitted.mixture.n_components
    posterior = fitted.mixture.predict_proba(fitted.x)[np.arange(50), component]
    # Eq. 7: -log p(x, z = k) = -log p(x) - log p(z = k | x).
    np.testing.assert_allclose(terms.nelbo, -fitted.mixture.score_samples(fitted.x) - np.log(posterior), rtol=1e-9)
    np.testing.assert_allclose(terms.d, -np.log(fitted.mixture.weights_)[component], rtol=1e-12)
    for x, k, m, a in zip(fitted.x, component, terms.m, terms.a, strict=True):
        mean, covariance = fitted.mixture.means_[k], fitted.mixture.covariances_[k]
        distance = scipy.spatial.distance.mahalanobis(x, mean, np.linalg.inv(covariance))
        assert float(m) == pytest.approx(distance**2 / 2, rel=1e-9)
        assert float(a) == pytest.approx(np.linalg.slogdet(2 * np.pi * covariance)[1] / 2, rel=1e-9)


@pytest.mark.usefixtures("x64")
def test_gradient_of_m_is_the_precision_times_the_residual(fitted: Fitted) -> None:
    parameters = fitted.parameters()
    gradient = batch(jax.grad(lambda *arguments: gmm_decompose(*arguments).m), fitted.x, *parameters)
    component = fitted.mixture.predict(fitted.x)
    for x, k, g in zip(fitted.x, component, gradient, strict=True):
        expected = np.linalg.solve(fitted.mixture.covariances_[k], x - fitted.mixture.means_[k])
        np.testing.assert_allclose(g, expected, rtol=1e-8, atol=1e-10)
    for constant in ("d", "a"):
        flat = jax.grad(lambda *arguments, name=constant: getattr(gmm_decompose(*arguments), name))
        np.testing.assert_array_equal(batch(flat, fitted.x, *parameters), 0.0)


@pytest.mark.usefixtures("x64")
def test_gradient_reaches_the_parameters() -> None:
    """Around the mean of an only component, d(-log p)/d(weights, means, factor) has a closed form."""
    rng = np.random.default_rng(1)
    factor = np.triu(rng.normal(size=(3, 3))) + 3 * np.eye(3)
    x, mean = rng.normal(size=3), rng.normal(size=3)
    by_weight, by_mean, by_factor = jax.grad(lambda *arguments: gmm_decompose(*arguments).nelbo, (1, 2, 3))(
        jnp.asarray(x), jnp.ones(1), jnp.asarray(mean[None]), jnp.asarray(factor[None])
    )
    residual = x - mean
    np.testing.assert_allclose(by_weight, [-1.0])
    np.testing.assert_allclose(by_mean[0], -factor @ factor.T @ residual)
    expected = np.outer(residual, residual @ factor) - np.diag(1 / np.diag(factor))
    np.testing.assert_allclose(by_factor[0], expected, atol=1e-12)


def test_scaling_the_space_moves_a_and_leaves_m(fitted: Fitted) -> None:
    weights, means, factors = (a.astype(jnp.float32) for a in fitted.parameters())
    x = fitted.x.astype(np.float32)
    plain = batch(gmm_decompose, x, weights, means, factors)
    scaled = batch(gmm_decompose, 4 * x, weights, 4 * means, factors / 4)
    np.testing.assert_allclose(scaled.m, plain.m, rtol=1e-5)
    np.testing.assert_array_equal(scaled.d, plain.d)
    np.testing.assert_allclose(scaled.a, plain.a + FEATURES * np.log(4), rtol=1e-5)


@pytest.mark.parametrize("function", [gmm_component_terms, gmm_decompose])
def test_jit_and_vmap_change_nothing(fitted: Fitted, function) -> None:
    parameters = [a.astype(jnp.float32) for a in fitted.parameters()]
    x = jnp.asarray(fitted.x, dtype=jnp.float32)
    batched = batch(function, x, *parameters)
    chex.assert_trees_all_close(jax.jit(jax.vmap(function, (0, None, None, None)))(x, *parameters), batched, rtol=1e-5)
    loop = [function(row, *parameters) for row in x]
    chex.assert_trees_all_close(jax.tree.map(lambda *leaves: jnp.stack(leaves), *loop), batched, rtol=1e-5)


def test_float32_keeps_its_digits_far_from_the_origin(x64: None) -> None:
    """A common offset of 1,000 sigma costs M the digits of the residual and no more."""
    rng = np.random.default_rng(2)
    offset, features = 1024.0, 64
    factor = np.triu(rng.normal(size=(features, features)) * 0.1) + np.eye(features)
    # On a grid of 2^-10, which float32 represents exactly at the offset.
    residual = np.round(rng.normal(size=features) * 1024) / 1024
    expected = np.sum(np.square(residual @ factor)) / 2
    arguments = (offset + residual, np.ones(1), np.full((1, features), offset), factor[None])
    terms = gmm_decompose(*(jnp.asarray(a, dtype=jnp.float32) for a in arguments))
    assert terms.m.dtype == jnp.float32
    assert float(terms.m) == pytest.approx(expected, rel=features * float(np.finfo(np.float32).eps))


def test_map_component_takes_the_least_sum_and_the_first_of_equals() -> None:
    terms = Decomposition(d=jnp.array([5.0, 0.0, 1.0]), a=jnp.array([-9.0, 2.0, 1.0]), m=jnp.array([8.0, 2.0, 2.0]))
    assert int(gmm_map_component(terms)) == 0
    assert int(gmm_map_component(Decomposition(*(leaf[1:] for leaf in terms)))) == 0


def test_a_component_without_weight_is_never_taken() -> None:
    terms = gmm_decompose(jnp.zeros(2), jnp.array([0.0, 1.0]), jnp.array([[0.0, 0.0], [9.0, 9.0]]), jnp.ones((2, 2, 2)))
    assert float(terms.d) == 0.0
    assert float(terms.m) == pytest.approx((18.0**2 + 18.0**2) / 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(x64: None, dtype: type) -> None:
    arguments = (np.zeros(2), np.ones(1), np.zeros((1, 2)), np.eye(2)[None])
    chex.assert_type(list(gmm_decompose(*(jnp.asarray(a, dtype=dtype) for a in arguments))), dtype)
