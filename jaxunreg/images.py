"""The only place that checks images and converts them to floating point."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxunreg.errors import ArgumentError, ArgumentTypeError
from jaxunreg.masked import check_unmasked


def check_images(images: Any, shape: tuple[int | None, ...]) -> None:
    """Check dtype, shape and, if they can be read, values of an image or of a batch of images.

    Values inside a traced function (`jit`, `vmap`, `grad`) cannot be read, so only dtype and shape are checked there.

    Args:
      images: NumPy or JAX array, uint8, or floating point in [0, 1].
      shape: the expected shape; `None` stands for any length above zero.

    Raises:
      ArgumentTypeError: it is not an array, or neither uint8 nor floating point.
      ArgumentError: the shape differs, the array is empty or masked, or a value is NaN, infinite or outside [0, 1].

    >>> import numpy as np
    >>> check_images(np.zeros((5, 8, 8, 3), np.uint8), (None, 8, 8, 3))
    >>> check_images(np.full((8, 8, 3), 255.0), (8, 8, 3))
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got float64 images with values from 255.0 to 255.0; expected [0, 1]; divide by 255
    or pass uint8
    """
    wanted = "[" + ", ".join("N" if length is None else str(length) for length in shape) + "]"
    if not isinstance(images, np.ndarray | jax.Array):
        raise ArgumentTypeError(type(images).__name__, f"a NumPy or JAX array of shape {wanted}", field="images")
    check_unmasked(images, "images")
    if images.dtype != np.uint8 and not jnp.issubdtype(images.dtype, jnp.floating):
        raise ArgumentTypeError(
            f"images of dtype {images.dtype}",
            "uint8, or floating point in [0, 1]",
            "convert with images.astype('uint8') or scale to [0, 1]",
            field="images",
        )
    if 0 in images.shape:
        raise ArgumentError(f"an empty array of shape {list(images.shape)}", wanted, field="images")
    fits = images.ndim == len(shape) and all(
        want is None or got == want for got, want in zip(images.shape, shape, strict=True)
    )
    if not fits:
        axes = "height, width, channels" if len(shape) == 3 else "batch, height, width, channels"
        raise ArgumentError(f"images of shape {list(images.shape)}", f"{wanted} ({axes})", field="images")
    if images.dtype == np.uint8 or isinstance(images, jax.core.Tracer):
        return
    # Without this, a program that closes over the array would trace the minimum and the maximum.
    with jax.ensure_compile_time_eval():
        low, high = float(images.min()), float(images.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ArgumentError("images with NaN or infinite values", "finite values in [0, 1]", field="images")
    if low < 0.0 or high > 1.0:
        raise ArgumentError(
            f"{images.dtype} images with values from {low} to {high}",
            "[0, 1]",
            "divide by 255 or pass uint8",
            field="images",
        )


def to_float(images: Any, dtype: Any = jnp.float32) -> Float[Array, "..."]:
    """Convert images to floating point in [0, 1]; uint8 is divided by 255, floating point is cast.

    Args:
      images: uint8, or floating point in [0, 1], of any shape; `check_images` checks them.
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
