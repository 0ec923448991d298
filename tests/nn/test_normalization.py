"""Batch normalisation with ReLU: against flax, in every mode and order of differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxunreg.nn.normalization import batch_norm_relu

SHAPES = [(5, 3), (4, 3, 2, 7)]


def inputs(shape):
    rng = np.random.default_rng(0)
    x = jnp.asarray(2.0 * rng.normal(size=shape) + 1.0, jnp.float32)
    scale, bias = (jnp.asarray(rng.normal(size=shape[-1:]), jnp.float32) for _ in range(2))
    return x, scale, bias


def by_flax(x, scale, bias):
    norm = nn.BatchNorm(use_running_average=False, momentum=0.0, epsilon=1e-3)
    variables = {"params": {"scale": scale, "bias": bias}, "batch_stats": {"mean": 0.0 * bias, "var": 0.0 * bias}}
    y, updated = norm.apply(variables, x, mutable=["batch_stats"])
    return nn.relu(y), updated["batch_stats"]["mean"], updated["batch_stats"]["var"]


def ours(x, scale, bias):
    return tuple(batch_norm_relu(x, scale, bias, 1e-3))


def scalar(function):
    def loss(*arguments):
        y, mean, variance = function(*arguments)
        return jnp.sum(jnp.sin(y)) + jnp.sum(jnp.cos(mean)) + jnp.sum(jnp.square(variance))

    return loss


@pytest.mark.parametrize("shape", SHAPES)
def test_values_are_those_of_flax(shape):
    for got, want in zip(ours(*inputs(shape)), by_flax(*inputs(shape)), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_those_of_flax(shape):
    got, want = (jax.grad(scalar(function), (0, 1, 2))(*inputs(shape)) for function in (ours, by_flax))
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_forward_mode_and_second_derivatives_are_those_of_flax(shape):
    tangents = inputs(shape)
    for got, want in zip(
        jax.jvp(ours, inputs(shape), tangents)[1], jax.jvp(by_flax, inputs(shape), tangents)[1], strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
    got, want = (jax.hessian(scalar(function), 1)(*inputs(shape)) for function in (ours, by_flax))
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4)


def test_a_constant_channel_stays_finite():
    x = jnp.ones((8, 2))
    y, _, variance = batch_norm_relu(x, jnp.ones(2), jnp.ones(2), 1e-5)
    np.testing.assert_array_equal(y, jnp.ones((8, 2)))
    np.testing.assert_array_equal(variance, jnp.zeros(2))
    gradient = jax.grad(lambda x: jnp.sum(batch_norm_relu(x, jnp.ones(2), jnp.ones(2), 1e-5).y))(x)
    assert np.isfinite(gradient).all()
