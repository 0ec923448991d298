"""Patches of an image that is larger than the network's input: their places, and how often they cover a pixel."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int, Num

from jaxunreg.errors import ArgumentError, argument
from jaxunreg.integers import check_integer


class PatchGrid(NamedTuple):
    """Upper left corners of the patches. Patch `[i, j]` starts at row `rows[i]` and column `columns[j]`.

    Attributes:
      rows: first rows, ascending.
      columns: first columns, ascending.
      height: height of a patch.
      width: width of a patch.
      seen: the middles of what the patches see, rows and columns, where a patch at the border was moved into the image;
        None where no patch was.
    """

    rows: Int[np.ndarray, " rows"]
    columns: Int[np.ndarray, " columns"]
    height: int
    width: int
    seen: tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " columns"]] | None = None

    @property
    def middles(self) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " columns"]]:
        """The middles of what the patches see, rows and columns in pixels.

        >>> [middle.tolist() for middle in PatchGrid(np.array([0, 4]), np.array([0]), 4, 6).middles]
        [[2.0, 6.0], [3.0]]
        """
        return (self.rows + self.height / 2, self.columns + self.width / 2) if self.seen is None else self.seen

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns of patches."""
        return len(self.rows), len(self.columns)

    @property
    def corners(self) -> Int[np.ndarray, "patches 2"]:
        """Return row and column of every patch, row by row."""
        return np.stack(np.meshgrid(self.rows, self.columns, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.int32)

    def coverage(self, height: int, width: int) -> Int[np.ndarray, "height width"]:
        """Return how many patches cover each pixel of an image of that size."""
        return np.outer(_covering(self.rows, self.height, height), _covering(self.columns, self.width, width))


def patch_grid(height: int, width: int, *, patch: tuple[int, int], stride: int) -> PatchGrid:
    """Place patches every `stride` pixels. If a border is left over, one more row or column is aligned to it.

    Args:
      height: height of the image.
      width: width of the image.
      patch: height and width of a patch.
      stride: pixels from one patch to the next.

    Returns:
      A grid, which covers every pixel if the stride is not longer than the patch.

    Raises:
      ArgumentTypeError: the stride is not an integer.
      ArgumentError: an image smaller than a patch, or a stride below one.

    >>> patch_grid(10, 8, patch=(4, 4), stride=4).rows.tolist()
    [0, 4, 6]
    >>> patch_grid(480, 640, patch=(96, 96), stride=4).shape
    (97, 137)
    """
    stride = check_integer("stride", stride, at_least=1)
    if height < patch[0] or width < patch[1]:
        raise ArgumentError(
            f"an image of {height}x{width}",
            f"at least a patch of {patch[0]}x{patch[1]}",
            "enlarge the image, or train a model on smaller patches",
            field="image",
        )

    return PatchGrid(_starts(height, patch[0], stride), _starts(width, patch[1], stride), *patch)


def _starts(length: int, size: int, stride: int) -> np.ndarray:
    """Return where the patches start along one axis."""
    regular = np.arange(0, length - size + 1, stride)
    return regular if regular[-1] == length - size else np.append(regular, length - size)


def _covering(starts: np.ndarray, size: int, length: int) -> np.ndarray:
    """Return how many patches cover each place of an axis."""
    steps = np.zeros(length + 1, np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, starts + size, -1)
    return np.cumsum(steps)[:-1]


def check_stride(name: str, stride: int, patch: int) -> None:
    """Refuse a stride below one, or with which some pixels would lie in no patch.

    Args:
      name: name of the argument, for the error.
      stride: pixels from one patch to the next.
      patch: height or width of a patch, whichever is smaller.

    Raises:
      ArgumentTypeError: the stride is not an integer.
      ArgumentError: it is below one or above the size of a patch.

    >>> check_stride("heat_map_stride", 0, 96)
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got heat_map_stride=0; expected 1 to 96, the size of a patch, since a longer one
    leaves pixels unseen; change heat_map_stride
    """
    if not 1 <= check_integer(name, stride, at_least=None) <= patch:
        raise ArgumentError(
            argument(name, stride),
            f"1 to {patch}, the size of a patch, since a longer one leaves pixels unseen",
            f"change {argument(name)}",
        )


def extract_patches(
    image: Num[Array | np.ndarray, "rows columns channels"],
    corners: Int[Array | np.ndarray, "n 2"],
    patch: tuple[int, int],
) -> Num[Array, "n height width channels"]:
    """Cut out the patches with these upper left corners.

    Args:
      image: `[height, width, channels]`.
      corners: rows and columns, integer `[n, 2]`. As with `jax.lax.dynamic_slice`, a patch that would leave the image
        is moved into it.
      patch: height and width of a patch.

    Returns:
      `[n, *patch, channels]`, the dtype of the image.

    >>> import numpy as np
    >>> image = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    >>> extract_patches(image, np.array([[0, 0], [1, 2]]), (2, 2))[..., 0].tolist()
    [[[0, 1], [4, 5]], [[6, 7], [10, 11]]]
    """

    def one(corner: Array) -> Array:
        return lax.dynamic_slice(image, (corner[0], corner[1], jnp.zeros_like(corner[0])), (*patch, image.shape[-1]))

    return jax.vmap(one)(jnp.asarray(corners))
