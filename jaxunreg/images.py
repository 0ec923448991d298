"""The one place where images are checked and converted to floating point."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def check_images(images: Any, shape: tuple[int | None, ...]) -> None:
    """Check dtype, shape and, where they can be read, values of an image or of a batch of images.

    Values inside a traced function (`jit`, `vmap`, `grad`) cannot be read, so there only dtype and shape are
    checked.

    Args:
      images: NumPy or JAX array, uint8, or floating point in [0, 1].
      shape: what is expected; `None` stands for any length above zero.

    Raises:
      TypeError: not an array, or neither uint8 nor floating point.
      ValueError: another shape, an empty array, NaN or infinity, or a value outside [0, 1].

    >>> import numpy as np
    >>> check_images(np.zeros((5, 8, 8, 3), np.uint8), (None, 8, 8, 3))
    >>> check_images(np.full((8, 8, 3), 255.0), (8, 8, 3))
    Traceback (most recent call last):
    ValueError: got float64 images with values from 255.0 to 255.0; expected [0, 1]; divide by 255 or pass uint8
    """
    wanted = "[" + ", ".join("N" if length is None else str(length) for length in shape) + "]"
    if not isinstance(images, np.ndarray | jax.Array):
        raise TypeError(f"got {type(images).__name__}; expected a NumPy or JAX array of shape {wanted}")
    if images.dtype != np.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"got images of dtype {images.dtype}; expected uint8, or floating point in [0, 1]; "
            "convert with images.astype('uint8') or scale to [0, 1]"
        )
    if 0 in images.shape:
        raise ValueError(f"got an empty array of shape {list(images.shape)}; expected {wanted}")
    fits = images.ndim == len(shape) and all(
        want is None or got == want for got, want in zip(images.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"got images of shape {list(images.shape)}; expected {wanted} "
            f"({'height, width, channels' if len(shape) == 3 else 'batch, height, width, channels'})"
        )
    if images.dtype == np.uint8 or isinstance(images, jax.core.Tracer):
        return
    # A program that closes over an array would otherwise trace what is done with it.
    with jax.ensure_compile_time_eval():
        low, high = float(images.min()), float(images.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("got images with NaN or infinite values; expected finite values in [0, 1]")
    if low < 0.0 or high > 1.0:
        raise ValueError(
            f"got {images.dtype} images with values from {low} to {high}; expected [0, 1]; divide by 255 or pass uint8"
        )


def to_float(images: Any, dtype: Any = jnp.float32) -> Float[Array, "..."]:
    """Convert images to floating point in [0, 1]; uint8 is divided by 255, floating point is cast.

    Args:
      images: uint8, or floating point in [0, 1], any shape; see `check_images`.
      dtype: floating-point dtype of the result.

    Returns:
      An array of the same shape.

    >>> import numpy as np
    >>> to_float(np.array([0, 255], np.uint8)).tolist()
    [0.0, 1.0]
    """
    if images.dtype == np.uint8:
        return jnp.asarray(images).astype(dtype) / jnp.asarray(255, dtype)
    return jnp.asarray(images).astype(dtype)
