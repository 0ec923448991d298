"""Split images into planes, by channel and by the parity of row and column, and join them again."""

from jaxtyping import Array, Float


def to_planes(images: Array) -> Float[Array, "channels 4 n pixels"]:
    """Split images into planes by channel and by the parity of row and column. Each plane holds its part of all images.

    Args:
      images: `[n, 2 height, 2 width, channels]`.

    Returns:
      `[channels, 4, n, height width]`. The axis of length four has even rows before odd rows, and in each of them even
      columns before odd columns.

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
    """Join the planes that `to_planes` made to images.

    Args:
      planes: `[channels, 4, n, height width / 4]`.
      height: height of the images, even.
      width: width of the images, even.

    Returns:
      `[n, height, width, channels]`.

    >>> import jax.numpy as jnp
    >>> from_planes(to_planes(jnp.arange(8.0).reshape(1, 2, 4, 1)), 2, 4).ravel().tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    """
    channels, _, n, _ = planes.shape
    blocks = planes.reshape(channels, 2, 2, n, height // 2, width // 2)
    return blocks.transpose(3, 4, 1, 5, 2, 0).reshape(n, height, width, channels)
