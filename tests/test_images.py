"""The gate through which every image passes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxunreg.images import check_images, to_float

SHAPE = (None, 8, 8, 3)


def good() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(4, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_good_images_pass(dtype):
    check_images((good() if dtype != np.uint8 else 255 * good()).astype(dtype), SHAPE)


@pytest.mark.parametrize(
    ("images", "error", "said"),
    [
        (good().tolist(), TypeError, "list.*expected a NumPy or JAX array"),
        (good().astype(np.int64), TypeError, "int64.*expected uint8"),
        (good() > 0.5, TypeError, "bool.*expected uint8"),
        (good()[:, :, :, 0], ValueError, r"\[4, 8, 8\].*\[N, 8, 8, 3\]"),
        (good()[:, :7], ValueError, r"\[4, 7, 8, 3\].*\[N, 8, 8, 3\]"),
        (good()[..., :1], ValueError, r"\[4, 8, 8, 1\].*\[N, 8, 8, 3\]"),
        (good()[:0], ValueError, "empty array"),
        (np.where(good() > 0.5, np.nan, good()), ValueError, "NaN"),
        (np.where(good() > 0.5, np.inf, good()), ValueError, "infinite"),
        (255 * good(), ValueError, r"expected \[0, 1\].*divide by 255"),
        (good() - 0.5, ValueError, r"expected \[0, 1\]"),
        (np.ma.masked_greater(good(), 0.9), ValueError, r"images of which \d+ of 768 values are masked.*\.filled"),
        (jnp.asarray(good()) + 1.0, ValueError, r"expected \[0, 1\]"),
    ],
)
def test_bad_images_are_refused_with_what_was_got_and_expected(images, error, said):
    with pytest.raises(error, match=said):
        check_images(images, SHAPE)


def test_inside_jit_shape_and_dtype_are_still_checked():
    @jax.jit
    def traced(images):
        check_images(images, SHAPE)
        return images

    traced(good())
    with pytest.raises(ValueError, match="expected"):
        traced(good()[:, :4])
    with pytest.raises(TypeError, match="int32"):
        traced(jnp.zeros((4, 8, 8, 3), jnp.int32))


def test_images_that_a_compiled_program_closes_over_are_checked_by_their_values():
    def closing_over(images):
        @jax.jit
        def program(x):
            check_images(images, SHAPE)
            return x + images

        return program(jnp.ones(()).reshape(1, 1, 1, 1))

    np.testing.assert_array_equal(closing_over(jnp.asarray(good())), good() + 1)
    with pytest.raises(ValueError, match="divide by 255"):
        closing_over(jnp.asarray(255 * good()))


def test_uint8_is_divided_by_255_and_floats_are_left():
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_allclose(to_float(every), np.arange(256) / 255, rtol=1e-6)
    assert to_float(every).dtype == jnp.float32
    np.testing.assert_array_equal(to_float(good()), good())
