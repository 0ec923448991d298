"""VAE and autoencoder: the objective at z = mean, noise only from the key."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxunreg as ju

SIZES = {"image_shape": (16, 16, 3), "depth": 3, "base_channels": 4, "latent_dim": 5}
MODELS = [ju.VAE(ju.VAEConfig(**SIZES)), ju.Autoencoder(ju.AutoencoderConfig(**SIZES))]


def images(n: int = 6) -> jax.Array:
    return jax.random.uniform(jax.random.key(7), (n, 16, 16, 3))


def program(model: ju.VAE | ju.Autoencoder, method: str = "__call__", **how: Any) -> Callable[..., Any]:
    """A method of a model, compiled as a whole."""
    return jax.jit(lambda variables, *inputs: model.apply(variables, *inputs, method=method, **how))


def test_the_vaes_terms_are_scipys_densities_of_its_own_outputs():
    model = MODELS[0]
    variables = jax.jit(model.init)(jax.random.key(0), images())
    posterior, likelihood = program(model)(variables, images())
    terms = program(model, "terms")(variables, images())
    log_density = scipy.stats.norm.logpdf(
        np.asarray(images(), np.float64),
        likelihood.mean,
        np.exp(0.5 * np.asarray(likelihood.log_var, np.float64)),
    ).sum((1, 2, 3))
    np.testing.assert_allclose(terms.a + terms.m, -log_density, rtol=1e-5)
    mean, var = np.asarray(posterior.mean), np.exp(np.asarray(posterior.log_var))
    np.testing.assert_allclose(terms.d, 0.5 * (mean**2 + var - 1 - np.log(var)).sum(1), rtol=1e-5)


def test_without_noise_the_training_objective_is_the_score(monkeypatch):
    """D + A + M is the negative ELBO that training minimises, at z = mean."""
    model = MODELS[0]
    variables = jax.jit(model.init)(jax.random.key(0), images())
    # Batch statistics take over the running averages' part, so compare under the batch's own.
    monkeypatch.setattr(jax.random, "normal", lambda key, shape, dtype: jnp.zeros(shape, dtype))
    training, updated = program(model, "training_terms", mutable=["batch_stats"])(
        variables, images(), jax.random.key(1)
    )
    # momentum m: new = m old + (1 - m) batch, so the batch's statistics follow from the update.
    momentum = model.config.batch_norm_momentum
    batch = jax.tree.map(
        lambda new, old: (new - momentum * old) / (1 - momentum),
        updated["batch_stats"],
        variables["batch_stats"],
    )
    score = program(model, "terms")({**variables, "batch_stats": batch}, images())
    for name in ("d", "a", "m"):
        np.testing.assert_allclose(getattr(training, name), getattr(score, name), rtol=1e-3)


def test_training_noise_comes_from_the_key_and_scores_have_none():
    model = MODELS[0]
    variables = jax.jit(model.init)(jax.random.key(0), images())
    training_terms = program(model, "training_terms", mutable=["batch_stats"])
    terms = program(model, "terms")

    def training(seed: int) -> np.ndarray:
        return np.asarray(training_terms(variables, images(), jax.random.key(seed))[0].m)

    np.testing.assert_array_equal(training(1), training(1))
    assert (training(1) != training(2)).all()
    first, second = (terms(variables, images()).m for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_the_reparameterised_sample_has_the_posteriors_moments(monkeypatch):
    model = MODELS[0]
    variables = jax.jit(model.init)(jax.random.key(0), images())
    decode, seen = ju.VAE.decode, []
    monkeypatch.setattr(
        ju.VAE, "decode", lambda self, z, *, train=False: (seen.append(z), decode(self, z, train=train))[1]
    )

    def sample(key: jax.Array) -> jax.Array:
        model.apply(variables, images(), key, method=model.training_terms, mutable=["batch_stats"])
        return seen.pop()

    z = np.asarray(jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(3), 500)))
    posterior, _ = program(model, "encode", train=True, mutable=["batch_stats"])(variables, images())
    sigma = np.exp(0.5 * np.asarray(posterior.log_var))
    assert (np.abs(z.mean(0) - np.asarray(posterior.mean)) < 4.5 * sigma / np.sqrt(500)).all()
    assert np.abs(z.std(0, ddof=1) / sigma - 1).max() < 4.5 / np.sqrt(2 * 499)


def test_the_autoencoders_score_is_the_mean_squared_error_alone():
    model = MODELS[1]
    variables = jax.jit(model.init)(jax.random.key(0), images())
    terms = program(model, "terms")(variables, images())
    error = np.asarray(images()) - np.asarray(program(model, "reconstruct")(variables, images()))
    np.testing.assert_allclose(terms.nelbo, (error**2).mean((1, 2, 3)), rtol=1e-5)
    assert not terms.d.any()
    assert not terms.a.any()


def test_log_variances_start_where_the_config_says_and_stay_in_range():
    config = ju.VAEConfig(**SIZES, x_log_var_init=-3.0, x_log_var_min=-6.0, z_log_var_init=-2.0)
    model = ju.VAE(config)
    variables = jax.jit(model.init)(jax.random.key(0), images())
    distributions = program(model)
    posterior, likelihood = distributions(variables, images())
    assert float(likelihood.log_var.mean()) == pytest.approx(-3.0, abs=0.5)
    assert float(posterior.log_var.mean()) == pytest.approx(-2.0, abs=1.0)
    wild = jax.tree.map(lambda leaf: 100.0 * leaf, variables)
    log_var = np.asarray(distributions(wild, images())[1].log_var)
    assert log_var.min() >= config.x_log_var_min
    assert log_var.max() <= config.x_log_var_max + 1e-3
