"""Matrix products: the order of their gradients' operands does not change a result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxunreg.nn.products import product, weights


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def loss(right: jax.Array, left: jax.Array, *, faster: bool) -> jax.Array:
    return jnp.sum(jnp.sin(product(left, weights(right, len(left)) if faster else right)))


def gradient_product(rows: int, size: int, columns: int) -> str:
    """Return the compiled product of the gradient."""
    left, right = normal(0, rows, size), normal(1, size, columns)
    compiled = jax.jit(lambda right: jax.grad(loss)(right, left, faster=True)).lower(right).compile()
    (line,) = (line for line in compiled.as_text().splitlines() if "lhs_contracting_dims={0}" in line)
    return line


@pytest.mark.parametrize(("rows", "size", "columns"), [(64, 16, 8), (8, 16, 8), (64, 8, 16)])
def test_derivatives_are_those_of_the_plain_product(rows, size, columns):
    left, right, tangent = normal(0, rows, size), normal(1, size, columns), normal(2, size, columns)

    def derivatives(faster: bool) -> list[jax.Array]:
        def value(right: jax.Array) -> jax.Array:
            return loss(right, left, faster=faster)

        slope, curvature = jax.jvp(jax.grad(value), (right,), (tangent,))
        return [value(right), jax.jvp(value, (right,), (tangent,))[1], slope, curvature]

    for got, want in zip(derivatives(True), derivatives(False), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("rows", "size", "columns", "shape"),
    [(64, 16, 8, "f32[8,16]"), (8, 16, 8, "f32[16,8]"), (64, 8, 16, "f32[8,16]")],
    ids=["many rows", "few rows", "wide result"],
)
def test_the_wider_operand_is_on_the_right_where_that_pays(rows, size, columns, shape):
    assert f"= {shape}" in gradient_product(rows, size, columns)


def test_a_vectorised_gradient_is_each_gradient():
    left, right = normal(0, 64, 16), normal(1, 3, 16, 8)
    gradient = jax.grad(lambda right: loss(right, left, faster=True))
    np.testing.assert_allclose(jax.vmap(gradient)(right), jnp.stack([gradient(r) for r in right]), rtol=1e-4, atol=1e-5)
