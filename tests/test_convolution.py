"""Both lowerings of the strided convolution and its transpose against JAX's own convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxunreg.convolution import conv, conv_transpose


def _normal(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * float(np.abs(want).max()))


@pytest.mark.parametrize("lowering", ["auto", "native", "matmul"])
def test_conv_is_jax_convolution(lowering):
    x, k = _normal(0, 3, 6, 10, 5), _normal(1, 4, 4, 5, 7)
    want = jax.lax.conv_general_dilated(
        x, k, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest"
    )
    _close(conv(x, k, lowering=lowering), want)


@pytest.mark.parametrize("lowering", ["auto", "native", "matmul"])
def test_conv_transpose_is_the_adjoint_of_conv(lowering):
    x, k = _normal(0, 3, 6, 10, 5), _normal(1, 4, 4, 5, 7)
    y, pull = jax.vjp(lambda x: conv(x, k, lowering="native"), x)
    cotangent = _normal(2, *y.shape)
    _close(conv_transpose(cotangent, k.transpose(0, 1, 3, 2), lowering=lowering), pull(cotangent)[0])
