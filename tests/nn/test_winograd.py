"""Winograd's filtering: its matrices against the filter they stand for, and the convolution against JAX's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxunreg.nn import winograd
from jaxunreg.nn.convolution import conv, conv_transpose, prepare
from jaxunreg.nn.lowering import Prepared

pytestmark = pytest.mark.slow

FUNCTIONS = {"conv": conv, "conv_transpose": conv_transpose}
BY_WINOGRAD = {"conv": winograd.conv, "conv_transpose": winograd.conv_transpose}


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def relative_error(got, want) -> float:
    got, want = (np.asarray(a, np.float64) for a in (got, want))
    return float(np.linalg.norm(got - want) / np.linalg.norm(want))


@pytest.mark.parametrize("outputs", [2, 3, 4, 5, 6, 9, 24])
def test_a_tile_is_the_filter_of_two_taps(outputs):
    tile = winograd.tile(outputs)
    rng = np.random.default_rng(outputs)
    blocks, taps = rng.normal(size=tile.size + 1), rng.normal(size=2)
    got = tile.outputs @ ((tile.taps @ taps) * (tile.blocks @ blocks))
    np.testing.assert_allclose(got, np.correlate(blocks, taps, mode="valid"), rtol=1e-12)
    assert tile.size == (3 if outputs % 3 == 0 else 2)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(("height", "width"), [(2, 2), (4, 6), (8, 12), (10, 14), (6, 18)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_value_and_gradients_are_those_of_the_native_convolution(name, height, width, dtype):
    h, w = (height // 2, width // 2) if name == "conv" else (height, width)
    x, k = normal(0, 3, height, width, 17), normal(1, 4, 4, 17, 19)

    def by_winograd(x, k):
        return BY_WINOGRAD[name](x, winograd.prepare(k, (h, w), transpose=name != "conv"), dtype)

    want, pull_want = jax.vjp(partial(FUNCTIONS[name], lowering="native"), x, k)
    got, pull_got = jax.vjp(by_winograd, x, k)
    cotangent = normal(2, *want.shape)
    for g, v in zip((got, *pull_got(cotangent)), (want, *pull_want(cotangent)), strict=True):
        assert relative_error(g, v) < (16 if dtype == jnp.float32 else 1) * float(jnp.finfo(dtype).eps)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("lowering", ["auto", "native", "matmul"])
@pytest.mark.parametrize("channels", [(16, 24), (3, 32)])
def test_a_prepared_kernel_gives_the_same_numbers(name, lowering, channels):
    x, k = normal(0, 2, 6, 4, channels[0]), normal(1, 4, 4, *channels)
    outputs = (3, 2) if name == "conv" else (6, 4)
    prepared = prepare(k, outputs, transpose=name != "conv")
    assert (prepared.points is None) == (min(channels) < 16)
    got = FUNCTIONS[name](x, prepared, lowering=lowering)
    assert relative_error(got, FUNCTIONS[name](x, k, lowering="native")) < 1e-6


def test_a_prepared_kernel_is_checked_like_any_other():
    prepared = prepare(jnp.zeros((4, 4, 16, 16)), (2, 2))
    with pytest.raises(ValueError, match=r"expected a kernel \[4, 4, 5, c_out\]"):
        conv(jnp.zeros((1, 4, 4, 5)), prepared)
    with pytest.raises(TypeError, match="float32"):
        conv(jnp.zeros((1, 4, 4, 16), jnp.bfloat16), Prepared(jnp.zeros((4, 4, 16, 16)), None))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_many_tiles_are_multiplied_fewer_times_than_by_im2col(name):
    # Counted by the compiler, in the forward pass: 16 c_in c_out multiplications and additions an output by im2col, and
    # (4/3)^2 4 c_in c_out by F(3, 2), beside the additions.
    h = 12
    x = normal(0, 8, *((2 * h, 2 * h) if name == "conv" else (h, h)), 64)
    k = normal(1, 4, 4, 64, 64)
    prepared = prepare(k, (h, h), transpose=name != "conv")
    compiled = jax.jit(partial(FUNCTIONS[name], lowering="matmul")).lower(x, prepared).compile()
    direct = 2 * 8 * h * h * 16 * 64 * 64
    assert compiled.cost_analysis()["flops"] < 0.6 * direct


@pytest.mark.parametrize("name", FUNCTIONS)
def test_vmap_over_images_and_over_weights_makes_no_loop(name):
    x, k = normal(0, 3, 2, 8, 8, 16), normal(1, 3, 4, 4, 16, 16)
    function = jax.jit(jax.vmap(FUNCTIONS[name]))
    hlo = function.lower(x, k).compile().as_text()
    assert " while(" not in hlo
    assert " convolution(" not in hlo
    for member in range(3):
        want = FUNCTIONS[name](x[member], k[member], lowering="native")
        assert relative_error(function(x, k)[member], want) < 2e-6


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_of_points_are_traced_once(name, dtype):
    x, k = normal(0, 2, 12, 12, 16), normal(1, 4, 4, 16, 16)
    h = 6 if name == "conv" else 12

    def loss(x, k):
        return BY_WINOGRAD[name](x, winograd.prepare(k, (h, h), transpose=name != "conv"), dtype).sum()

    programs: dict[str, list] = {}
    for equation in jax.make_jaxpr(jax.grad(loss, (0, 1)))(x, k).eqns:
        if "_row_to_" in equation.params.get("name", ""):
            programs.setdefault(equation.params["name"], []).append(equation.params["jaxpr"])
    row = "_row_to_outputs" if name == "conv" else "_row_to_strip"
    assert sorted(programs) == sorted([row, "_row_to_matrices"])
    for rows in programs.values():
        # Forward and backward, of four rows each.
        assert len(rows) == 8
        assert len({id(program) for program in rows}) == 2
