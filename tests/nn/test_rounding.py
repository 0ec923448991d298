"""Rounding to bfloat16 in integers: against JAX's conversion, over the bits that a float32 can have."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxunreg.nn import rounding
from jaxunreg.nn.convolution import conv

# Of the NaN those that arithmetic makes: quiet, and without all of the eight highest bits of the fraction.
QUIET, HIGHEST_EIGHT = 0x400000, 0x7F8000


def floats(bits: np.ndarray) -> jax.Array:
    return jnp.asarray(bits.astype(np.uint32).view(np.float32))


@pytest.fixture(scope="module")
def every_kind() -> jax.Array:
    """Random bits, so all exponents, subnormals, infinities and NaN; ties; and the numbers beside each."""
    rng = np.random.default_rng(0)
    upper = rng.integers(0, 2**16, 4096, np.uint32) << 16
    special = np.array([0, 0x7F800000, 0x7F7FFFFF, 0x7F7F7FFF, 0x7FC00000, 0x7FFF7FFF, 1, 0x8000], np.uint32)
    lower = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    bits = np.concatenate([(upper[:, None] | lower).ravel(), special, special | 0x80000000])
    fraction = bits & 0x7FFFFF
    nan = (bits & 0x7F800000 == 0x7F800000) & (fraction != 0)
    made = (fraction & QUIET != 0) & (fraction & HIGHEST_EIGHT != HIGHEST_EIGHT)
    return floats(bits[~nan | made])


def test_cast_is_the_conversion_of_jax(every_kind):
    got, want = rounding.cast(every_kind, jnp.bfloat16), every_kind.astype(jnp.bfloat16)
    assert got.dtype == jnp.bfloat16
    number = ~np.isnan(every_kind)
    np.testing.assert_array_equal(np.asarray(got).view(np.uint16)[number], np.asarray(want).view(np.uint16)[number])
    np.testing.assert_array_equal(np.isnan(np.asarray(got, np.float32)), ~number)


def test_halves_are_the_same_but_for_ties_which_go_away_from_zero(every_kind):
    bits = np.asarray(every_kind).view(np.uint32)
    tie = (bits & 0xFFFF) == 0x8000
    got = np.asarray(rounding.from_halves(rounding.to_halves(every_kind)))
    want = np.where(tie, ((bits >> 16) + 1) << 16, 0).astype(np.uint32).view(np.float32)
    want = np.where(tie, want, np.asarray(every_kind.astype(jnp.bfloat16), np.float32))
    number = ~np.isnan(every_kind)
    np.testing.assert_array_equal(got.view(np.uint32)[number], want.view(np.uint32)[number])
    np.testing.assert_array_equal(np.isnan(np.asarray(got, np.float32)), ~number)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16])
def test_other_dtypes_are_converted_as_ever(dtype):
    x = jnp.array([1.0, 1.0 + 2.0**-9, -3.0])
    np.testing.assert_array_equal(rounding.cast(x, dtype), x.astype(dtype))
    np.testing.assert_array_equal(rounding.move(jnp.flip, (x,), dtype), jnp.flip(x.astype(dtype)))
    half = x.astype(jnp.bfloat16)
    assert rounding.cast(half, jnp.bfloat16) is half


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit, jax.vmap])
@pytest.mark.parametrize(
    ("function", "plain"),
    [
        (partial(rounding.cast, dtype=jnp.bfloat16), lambda x: x.astype(jnp.bfloat16)),
        (
            lambda x: rounding.move(lambda x: jnp.pad(x[::-1], 1), (x,), jnp.bfloat16),
            lambda x: jnp.pad(x[::-1].astype(jnp.bfloat16), 1),
        ),
    ],
    ids=["cast", "move"],
)
def test_derivatives_are_those_of_the_conversion(function, plain, transform):
    x, t = (jnp.asarray(np.random.default_rng(seed).normal(size=(4, 5)), jnp.float32) for seed in (0, 1))
    for value, want in zip(*(jax.jvp(transform(f), (x,), (t,)) for f in (function, plain)), strict=True):
        assert value.dtype == want.dtype
        np.testing.assert_array_equal(value, want)
    (y, pull), (_, pull_plain) = (jax.vjp(transform(f), x) for f in (function, plain))
    cotangent = jnp.arange(y.size, dtype=jnp.float32).reshape(y.shape).astype(jnp.bfloat16)
    np.testing.assert_array_equal(pull(cotangent)[0], pull_plain(cotangent)[0])


def test_a_stack_is_rounded_and_its_derivative_is_not():
    x, t = (jnp.asarray(np.random.default_rng(seed).normal(size=(4, 5)), jnp.float32) for seed in (0, 1))
    function = partial(rounding.stack, axis=1, dtype=jnp.bfloat16)
    value, tangent = jax.jvp(lambda x: function([x, 2.0 * x]), (x,), (t,))
    plain = jnp.stack([x, 2.0 * x], axis=1)
    np.testing.assert_array_equal(value, plain.astype(jnp.bfloat16).astype(jnp.float32))
    np.testing.assert_array_equal(tangent, jnp.stack([t, 2.0 * t], axis=1))
    np.testing.assert_array_equal(rounding.stack([x, 2.0 * x], 1, jnp.float32), plain)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so_through_a_layer_in_bfloat16(bad):
    x = jnp.zeros((1, 8, 8, 16)).at[0, 2, 3, 4].set(bad)
    y = conv(x, jnp.ones((4, 4, 16, 16), jnp.bfloat16), lowering="matmul")
    assert not np.isfinite(y[0, 1, 1]).any()
