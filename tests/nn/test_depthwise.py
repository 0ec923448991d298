"""The depthwise convolution against XLA's grouped convolution, against sums in NumPy, and against PyTorch."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxunreg.errors import ArgumentError, ArgumentTypeError
from jaxunreg.nn.depthwise import depthwise_conv, same_padding

pytestmark = pytest.mark.slow

CASES = [(3, 1, (6, 7)), (3, 2, (8, 8)), (3, 2, (7, 9)), (5, 1, (5, 6)), (5, 2, (8, 11)), (5, 3, (10, 7))]


def arrays(k: int, size: tuple[int, int], channels: int = 4) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, *size, channels)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(rng.normal(size=(k, k, channels)).astype(np.float32))


def grouped(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """XLA's grouped convolution with XLA's own idea of `SAME`."""
    return lax.conv_general_dilated(
        x,
        kernel[:, :, None],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[3],
    )


@pytest.mark.parametrize("lowering", ["auto", "native", "shifted"])
@pytest.mark.parametrize(("k", "stride", "size"), CASES)
def test_it_is_the_grouped_convolution_in_value_and_in_both_gradients(k, stride, size, lowering):
    x, kernel = arrays(k, size)

    def value_and_gradients(convolve):
        y, pull = jax.vjp(convolve, x, kernel)
        return y, pull(jnp.cos(y))

    own = jax.jit(lambda: value_and_gradients(lambda a, b: depthwise_conv(a, b, stride=stride, lowering=lowering)))()
    wanted = value_and_gradients(lambda a, b: grouped(a, b, stride))
    chex.assert_trees_all_close(own, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("k", "stride", "size"), CASES)
def test_forward_mode_and_second_derivatives_are_those_of_the_grouped_convolution(k, stride, size):
    x, kernel = arrays(k, size)
    tangents = (jnp.sin(3.0 * x), jnp.sin(5.0 * kernel))

    def derivatives(convolve):
        def gradients(a, b):
            return jax.grad(lambda a, b: jnp.sum(jnp.sin(convolve(a, b))), argnums=(0, 1))(a, b)

        return jax.jvp(convolve, (x, kernel), tangents), jax.jvp(gradients, (x, kernel), tangents)

    own = jax.jit(lambda: derivatives(lambda a, b: depthwise_conv(a, b, stride=stride, lowering="shifted")))()
    wanted = derivatives(lambda a, b: grouped(a, b, stride))
    chex.assert_trees_all_close(own, wanted, rtol=1e-3, atol=1e-3)


def test_a_gradient_pads_once_and_not_for_each_tap():
    x, kernel = arrays(5, (9, 8))

    def gradient(image):
        return jax.grad(lambda a: jnp.sum(jnp.sin(depthwise_conv(a, kernel, lowering="shifted"))))(image)

    assert jax.jit(gradient).lower(x).compile().as_text().count(" pad(") <= 2
    chex.assert_trees_all_close(jax.vmap(lambda one: gradient(one[None])[0])(x), gradient(x), rtol=1e-5)


@pytest.mark.parametrize("lowering", ["native", "shifted"])
def test_it_is_the_sum_that_the_docstring_states(lowering):
    x, kernel = arrays(3, (4, 5))
    padding = ((2, 0), (1, 3))
    y = np.asarray(depthwise_conv(x, kernel, stride=2, padding=padding, lowering=lowering))
    bordered = np.pad(x, ((0, 0), *padding, (0, 0)))
    for i, j in np.ndindex(y.shape[1], y.shape[2]):
        window = bordered[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        np.testing.assert_allclose(y[:, i, j], (window * np.asarray(kernel)).sum(axis=(1, 2)), rtol=1e-4, atol=1e-5)


def test_it_is_pytorchs_with_groups():
    torch = pytest.importorskip("torch")
    x, kernel = arrays(5, (9, 8))
    y = depthwise_conv(x, kernel, stride=2, padding=((2, 2), (2, 2)))
    weight = torch.tensor(np.asarray(kernel)).permute(2, 0, 1)[:, None]
    images = torch.tensor(np.asarray(x)).permute(0, 3, 1, 2)
    wanted = torch.nn.functional.conv2d(images, weight, stride=2, padding=2, groups=4).permute(0, 2, 3, 1)
    np.testing.assert_allclose(y, wanted.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("k", "stride", "size"), CASES)
def test_same_padding_is_xlas(k, stride, size):
    assert list(same_padding(size, k, stride)) == lax.padtype_to_pads(size, (k, k), (stride, stride), "SAME")


def test_vmap_is_a_loop():
    x, kernel = arrays(3, (4, 5))
    stack = jnp.stack([x, 2.0 * x, -x])
    own = jax.vmap(lambda images: depthwise_conv(images, kernel))(stack)
    chex.assert_trees_all_close(own, jnp.stack([depthwise_conv(images, kernel) for images in stack]), rtol=1e-5)


def test_another_platform_gets_the_grouped_convolution():
    x, kernel = arrays(3, (4, 5))
    for platform, convolutions in (("cpu", 0), ("cuda", 1)):
        exported = jax.export.export(jax.jit(depthwise_conv), platforms=[platform])(x, kernel)
        assert exported.mlir_module().count("stablehlo.convolution") == convolutions


def test_what_does_not_fit_is_refused(no_type_checks):
    x, kernel = arrays(3, (4, 5))
    with pytest.raises(ArgumentError, match=r"got lowering='fast'; expected one of \['auto'"):
        depthwise_conv(x, kernel, lowering="fast")
    with pytest.raises(ArgumentError, match=r"got stride=0; expected at least 1"):
        depthwise_conv(x, kernel, stride=0)
    with pytest.raises(ArgumentError, match=r"expected \[n, height, width, channels\]; add a batch axis"):
        depthwise_conv(x[0], kernel)
    with pytest.raises(ArgumentError, match=r"expected \[k, k, 4\]"):
        depthwise_conv(x, kernel[:, :, :3])
    with pytest.raises(ArgumentError, match="an input of 4x5 .* expected at least the 5x5 of the filter"):
        depthwise_conv(x, arrays(5, (4, 5))[1], padding=((0, 0), (0, 0)))
    with pytest.raises(ArgumentTypeError, match="x of float32 and a kernel of bfloat16"):
        depthwise_conv(x, kernel.astype(jnp.bfloat16))
