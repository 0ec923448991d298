"""Images taken apart into planes, by channel and by the parity of row and column, and put together again."""

from jaxtyping import Array, Float


def to_planes(images: Array) -> Float[Array, "channels 4 n pixels"]:
    """Images taken apart by channel and by the parity of row and of column, each part in one piece for all images.

    Args:
      images: `[n, 2 height, 2 width, channels]`.

    Returns:
      `[channels, 4, n, height width]`; the axis of four is even and odd rows, and in each even and odd columns.

    >>> import jax.numpy as jnp
    >>> to_planes(jnp.arange(8.0).reshape(1, 2, 4, 1)).tolist()
    [[[[0.0, 2.0]], [[1.0, 3.0]], [[4.0, 6.0]], [[5.0, 7.0]]]]
    """
    n, rows, columns, channels = images.shape
    blocks = images.reshape(n, rows // 2, 2, columns // 2, 2, channels)
    return blocks.transpose(5, 2, 4, 0, 1, 3).reshape(channels, 4, n, rows * columns // 4)


def from_planes(
    planes: Float[Array, "channels 4 n pixels"], height: int, width: int
) -> Float[Array, "n height width channels"]:
    """Images put together again from what `to_planes` made.

    Args:
      planes: `[channels, 4, n, height width / 4]`.
      height: of the images, even.
      width: of the images, even.

    Returns:
      `[n, height, width, channels]`.

    >>> import jax.numpy as jnp
    >>> from_planes(to_planes(jnp.arange(8.0).reshape(1, 2, 4, 1)), 2, 4).ravel().tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    """
    channels, _, n, _ = planes.shape
    blocks = planes.reshape(channels, 2, 2, n, height // 2, width // 2)
    return blocks.transpose(3, 4, 1, 5, 2, 0).reshape(n, height, width, channels)
