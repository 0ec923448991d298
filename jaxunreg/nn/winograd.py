"""Winograd's minimal filtering for the 4x4 kernel of stride 2, as linear maps around matrix products.

Pairs of rows and columns of the image make blocks. Over blocks, the 4x4 convolution of stride 2 is a convolution with
2x2 taps and stride 1. F(m, 2) computes m neighbouring outputs of two taps with m + 1 multiplications instead of 2m. So
a square of m x m outputs needs (m + 1)^2 instead of 4 m^2: 1.78 times fewer for m = 2, 2.25 for m = 3. With the
matrices below, `d` the m + 1 blocks under the outputs and `g` the taps, along each axis

    y = outputs . ((taps . g) * (blocks . d)).

The products over channels are matrix products, one for each of the (m + 1)^2 points, and everything else is addition.
The coefficients are 0, 1 and 1/2, so float32 loses no more than a bit. F(4, 2) has 2.56 times fewer multiplications,
but it needs other coefficients, loses two bits, and was no faster.

JAX derives the gradients from these maps, so each is written in operations whose transpose is the fast form of its
adjoint: `split` instead of slices, padding at the ends and not between. The one exception says so. The transform also
moves less memory than im2col: it writes each pixel 9/4 times for m = 2 and 16/9 times for m = 3, and im2col writes it
four times.

References:
  Winograd, S. Arithmetic Complexity of Computations. 1980.
  Lavin, A. and Gray, S. Fast Algorithms for Convolutional Neural Networks. CVPR 2016.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array

from jaxunreg.nn import rounding
from jaxunreg.nn.products import weights
from jaxunreg.nn.slices import add_shifted, pad, pad_ends, unstack

Grid: TypeAlias = list[list[Array]]


@dataclass(frozen=True, eq=False)
class Tile:
    """F(m, 2), which makes m outputs of m + 1 products. There is one object for each m, so that `jit` can take it.

    Attributes:
      blocks: `[m + 1, m + 1]`, from blocks of the input to points.
      taps: `[m + 1, 2]`, from taps to points.
      outputs: `[m, m + 1]`, from points to outputs.
    """

    blocks: np.ndarray
    taps: np.ndarray
    outputs: np.ndarray

    @property
    def size(self) -> int:
        """m, the number of outputs along an axis."""
        return len(self.outputs)


_F2 = Tile(
    blocks=np.array([[1, -1, 0], [0, 1, 0], [0, -1, 1]]),
    taps=np.array([[1, 0], [1, 1], [0, 1]]),
    outputs=np.array([[1, 1, 0], [0, 1, 1]]),
)

_F3 = Tile(
    blocks=np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, -1, 0, 1]]),
    taps=np.array([[1, 0], [0.5, 0.5], [0.5, -0.5], [0, 1]]),
    outputs=np.array([[1, 1, 1, 0], [0, 1, -1, 0], [0, 1, 1, 1]]),
)


def tile(outputs: int) -> Tile:
    """Return the tile for an axis of `outputs`: three outputs if that divides them, else two, the last tile padded."""
    return _F2 if outputs % 3 else _F3


def tiles(outputs: tuple[int, int]) -> int:
    """Return how many tiles an image has, from its rows and columns of outputs.

    >>> tiles((6, 4))
    4
    """
    _, (rows, columns) = _sizes((tile(outputs[0]), tile(outputs[1])), *outputs)
    return rows * columns


def prepare(kernel: Array, outputs: tuple[int, int], *, transpose: bool = False) -> list[Array]:
    """Transform the taps of a kernel to points: a matrix for each.

    Args:
      kernel: `[4, 4, c_in, c_out]`.
      outputs: height and width of what `conv` returns, or of what `conv_transpose` takes.
      transpose: prepare for `conv_transpose`, the adjoint of a convolution with the channels exchanged.

    Returns:
      For each row of points the matrices `[points, 4 c_in, c_out]`, or `[points, c_in, 4 c_out]` with `transpose`.
    """
    return _kernel_to_points(kernel, (tile(outputs[0]), tile(outputs[1])), transpose=transpose)


def conv(x: Array, taps: list[Array], dtype: DTypeLike) -> Array:
    """4x4 convolution, stride 2, padding 1.

    Args:
      x: `[n, 2h, 2w, c_in]`.
      taps: from `prepare(kernel, (h, w))`.
      dtype: dtype of the products' operands. Additions use the dtype of `x`. For bfloat16 a float32 `x` is rounded too.

    Returns:
      `[n, h, w, c_out]`, the dtype of `x`.

    >>> import jax.numpy as jnp
    >>> conv(jnp.ones((1, 4, 6, 3)), prepare(jnp.ones((4, 4, 3, 8)), (2, 3)), jnp.float32)[0, :, :, 0].tolist()
    [[27.0, 36.0, 27.0], [27.0, 36.0, 27.0]]
    """
    _, height, width, _ = x.shape
    tiles = tile(height // 2), tile(width // 2)
    grid = _rounded_to_points(x, tiles) if rounding.narrows(x, dtype) else _image_to_points(x, tiles)
    rows = [_row_to_outputs(row, matrices, tiles[1], dtype) for row, matrices in zip(grid, taps, strict=True)]
    return _rows_to_outputs(rows, tiles[0], height // 2, width // 2)


def conv_transpose(x: Array, taps: list[Array], dtype: DTypeLike) -> Array:
    """Transposed 4x4 convolution, stride 2, padding 1.

    Args:
      x: `[n, h, w, c_in]`.
      taps: from `prepare(kernel, (h, w), transpose=True)`.
      dtype: dtype of the products' operands. Additions use the dtype of `x`. For bfloat16, tiles of three also round
        float32 sums over columns, before they sum over rows.

    Returns:
      `[n, 2h, 2w, c_out]`, the dtype of `x`.

    >>> import jax.numpy as jnp
    >>> taps = prepare(jnp.ones((4, 4, 8, 3)), (2, 2), transpose=True)
    >>> conv_transpose(jnp.ones((1, 2, 2, 8)), taps, jnp.float32)[0, 0, :, 0].tolist()
    [8.0, 16.0, 16.0, 8.0]
    """
    _, h, w, _ = x.shape
    tiles = tile(h), tile(w)
    # Narrow only what is read more than twice. Otherwise rounding costs what it saves.
    narrow = dtype if tiles[0].size == 3 else x.dtype
    rows = zip(_outputs_to_rows(x, tiles), taps, strict=True)
    strips = [_row_to_strip(row, matrices, tiles[1], dtype, narrow) for row, matrices in rows]
    return _strips_to_image(strips, tiles[0], 2 * h, 2 * w)


# The work on one row of points is a function under `jit`, so that it is traced and differentiated once instead of for
# every row. XLA inlines it.
def _products(points: list[Array], matrices: Array, dtype: DTypeLike) -> Array:
    """Multiply a row of points, each a matrix `[tiles, columns]`, by `matrices` `[points, columns, ...]`."""
    # Merged into a matrix and rounded in one array. Point by point, XLA would do both element by element.
    stacked = rounding.cast(jnp.stack(points), dtype)
    left = stacked.reshape(len(points), -1, matrices.shape[1])
    right = weights(matrices, left.shape[1]).astype(dtype)
    numbers = (((2,), (1,)), ((0,), (0,)))
    return lax.dot_general(left, right, numbers, preferred_element_type=points[0].dtype)


@partial(jax.jit, static_argnums=(2, 3))
def _row_to_outputs(points: list[Array], matrices: Array, tile: Tile, dtype: DTypeLike) -> list[Array]:
    """Map a row of points of the image to its share in each column of outputs in a tile, `[n, rows, columns, c]`."""
    products = _products(points, matrices, dtype).reshape(len(points), *points[0].shape[:3], -1)
    return _combine(tile.outputs, unstack(products, 0))


@partial(jax.jit, static_argnums=(2, 3, 4))
def _row_to_strip(row: Array, matrices: Array, tile: Tile, dtype: DTypeLike, narrow: DTypeLike) -> Array:
    """Map a row of points of the outputs to its share in the image, `[n, rows, 2, 2 m (columns + 1), c]`.

    XLA keeps the result in memory as `narrow`.
    """
    points = _combine(tile.outputs.T, unstack(row, 3))
    products = _products(points, matrices, dtype).reshape(len(points), *points[0].shape[:3], 2, -1)
    parts = [product.transpose(0, 1, 3, 2, 4) for product in unstack(products, 0)]
    strip = rounding.stack(_overlap(_combine(tile.blocks.T, parts), 3), 4, narrow)
    # Columns are joined here and rows later, for the sake of the gradient: see `_image_to_points`.
    n, rows, _, columns, m, c = strip.shape
    return strip.reshape(n, rows, 2, 2 * m * columns, c // 2)


def _overlap(parts: Sequence[Array], axis: int) -> list[Array]:
    """Add the last part of each tile to the first of the next, along an axis of tiles, which grows by one."""
    *own, following = parts
    return [add_shifted(own[0], following, axis), *(pad(part, axis, 0, 1) for part in own[1:])]


def _kernel_to_points(kernel: Array, tiles: tuple[Tile, Tile], *, transpose: bool) -> list[Array]:
    """Map a kernel `[4, 4, c_in, c_out]` to one matrix a point, stacked along each row of points; see `prepare`."""
    # Axes: row of the block, row within it, column of the block, column within it.
    taps = kernel.reshape(2, 2, 2, 2, *kernel.shape[2:])
    return [_row_to_matrices(row, tiles[1], transpose) for row in _combine(tiles[0].taps, unstack(taps, 0))]


@partial(jax.jit, static_argnums=(1, 2))
def _row_to_matrices(row: Array, tile: Tile, transpose: bool) -> Array:
    """Map taps `[2, 2, 2, c_in, c_out]` (row within the block, block column, column within it) to a row of matrices."""
    *_, c_in, c_out = row.shape

    def matrix(point: Array) -> Array:
        # The axes within a block stay beside the channels of the image (of the output if transposed). Channels are not
        # exchanged: their rows are copied, which is several times as fast.
        return point.transpose(2, 0, 1, 3).reshape(c_in, 4 * c_out) if transpose else point.reshape(4 * c_in, c_out)

    return jnp.stack([matrix(point) for point in _combine(tile.taps, unstack(row, 1))])


def _image_to_points(x: Array, tiles: tuple[Tile, Tile]) -> Grid:
    """Map an image `[n, height, width, c]` to points `[n, rows, columns, 2, 2 c]`, later matrices `[tiles, 4 c]`."""
    n, height, width, c = x.shape
    (m_rows, m_columns), (rows, columns) = _sizes(tiles, height // 2, width // 2)
    # One tile more than needed: the last block of a tile is the first of the next.
    border = (
        (1, 2 * m_rows * (rows + 1) - height - 1),
        (1, 2 * m_columns * (columns + 1) - width - 1),
    )
    padded = pad_ends(x, ((0, 0), *border, (0, 0)))
    # Rows are split here and columns below. XLA fuses a reshape with the padding, and loops that have to find both
    # columns and channels in their last index are several times as slow.
    blocks = padded.reshape(n, rows + 1, m_rows, 2, 2 * m_columns * (columns + 1), c)
    strips = _combine(tiles[0].blocks, _in_tile(unstack(blocks, 2), 1, rows))
    return [_strip_to_points(strip, tiles[1], columns) for strip in strips]


@partial(jax.jit, static_argnums=(1, 2))
def _strip_to_points(strip: Array, tile: Tile, columns: int) -> list[Array]:
    """Map the blocks of a row of points, `[n, rows, 2, width, c]`, to its points, `[n, rows, columns, 2, 2 c]`."""
    n, rows, _, _, c = strip.shape
    row = strip.reshape(n, rows, 2, columns + 1, tile.size, 2 * c)
    points = _combine(tile.blocks, _in_tile(unstack(row, 4), 3, columns))
    return [point.transpose(0, 1, 3, 2, 4) for point in points]


def _in_tile(parts: Sequence[Array], axis: int, count: int) -> list[Array]:
    """Return the parts that each of `count` tiles along an axis sees: its own, and the first of the next tile."""
    own = [lax.slice_in_dim(part, 0, count, axis=axis) for part in parts]
    return [*own, lax.slice_in_dim(parts[0], 1, count + 1, axis=axis)]


def _rounded_to_points(x: Array, tiles: tuple[Tile, Tile]) -> Grid:
    """Do the same for a float32 image rounded to bfloat16, `[n, rows, columns, 2, 2, c]` a point."""

    def plain(x: Array) -> Grid:
        grid = _image_to_points(x, tiles)
        return [[point.reshape(*point.shape[:-1], 2, -1) for point in row] for row in grid]

    return rounding.straight_through(partial(_halves_to_points, tiles=tiles), plain, x)


def _halves_to_points(x: Array, tiles: tuple[Tile, Tile]) -> Grid:
    n, height, width, c = x.shape
    (m_rows, m_columns), (rows, columns) = _sizes(tiles, height // 2, width // 2)
    bottom, right = 2 * (m_rows * rows + 1) - height - 1, 2 * (m_columns * columns + 1) - width - 1
    strip = pad(rounding.to_halves(x), 2, 1, right)
    # Rows are joined and not padded: after a layer with tiles of three, XLA's loop for padding is four times as slow.
    above, below = (jnp.zeros((n, size, *strip.shape[2:]), strip.dtype) for size in (1, bottom))
    padded = jnp.concatenate([above, strip, below], axis=1)
    blocks = padded.reshape(n, m_rows * rows + 1, 2, m_columns * columns + 1, 2, c)

    def block(i: int, j: int) -> Array:
        """Return row i and column j of the blocks in each tile."""
        start, limit = (0, i, 0, j, 0, 0), (n, i + m_rows * (rows - 1) + 1, 2, j + m_columns * (columns - 1) + 1, 2, c)
        return rounding.from_halves(lax.slice(blocks, start, limit, (1, m_rows, 1, m_columns, 1, 1)))

    grid = [[block(i, j) for j in range(m_columns + 1)] for i in range(m_rows + 1)]
    points = _combine_both(tiles[0].blocks, tiles[1].blocks, grid)
    return [[point.transpose(0, 1, 3, 2, 4, 5) for point in row] for row in points]


def _strips_to_image(strips: list[Array], tile: Tile, height: int, width: int) -> Array:
    """Add the shares of all rows of points to the image `[n, height, width, c]`."""
    n, rows, _, columns, c = strips[0].shape
    blocks = jnp.stack(_overlap(_combine(tile.blocks.T, strips), 1), axis=2)
    image = blocks.reshape(n, 2 * tile.size * (rows + 1), columns, c)
    return image[:, 1 : height + 1, 1 : width + 1]


def _rows_to_outputs(grid: Grid, tile: Tile, h: int, w: int) -> Array:
    """Add the shares of all rows of points, each a list of columns, to the outputs `[n, h, w, c]`."""
    n, rows, columns, c = grid[0][0].shape
    by_column = [_combine(tile.outputs, column) for column in zip(*grid, strict=True)]
    y = jnp.stack([jnp.stack(row, axis=3) for row in zip(*by_column, strict=True)], axis=2)
    return y.reshape(n, rows * tile.size, columns * len(by_column), c)[:, :h, :w]


def _outputs_to_rows(y: Array, tiles: tuple[Tile, Tile]) -> list[Array]:
    """Map the outputs `[n, h, w, c]` to one array for each row of points, `[n, rows, columns, m, c]`."""
    n, h, w, c = y.shape
    (m_rows, m_columns), (rows, columns) = _sizes(tiles, h, w)
    y = pad_ends(y, ((0, 0), (0, rows * m_rows - h), (0, columns * m_columns - w), (0, 0)))
    return _combine(tiles[0].outputs.T, unstack(y.reshape(n, rows, m_rows, columns, m_columns, c), 2))


def _sizes(tiles: tuple[Tile, Tile], h: int, w: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the outputs of a tile and the number of tiles, along both axes."""
    m_rows, m_columns = (tile.size for tile in tiles)
    return (m_rows, m_columns), (-(-h // m_rows), -(-w // m_columns))


def _combine_both(left: np.ndarray, right: np.ndarray, grid: Sequence[Sequence[Array]]) -> Grid:
    """Return `left . grid . right^T`, for a matrix whose elements are arrays."""
    columns = [_combine(left, column) for column in zip(*grid, strict=True)]
    return [_combine(right, row) for row in zip(*columns, strict=True)]


def _combine(matrix: np.ndarray, parts: Sequence[Array]) -> list[Array]:
    """Return `matrix . parts`, without the terms whose coefficient is zero."""
    return [_weighted_sum(row, parts) for row in matrix]


def _weighted_sum(weights: np.ndarray, parts: Sequence[Array]) -> Array:
    terms = [(weight, part) for weight, part in zip(weights.tolist(), parts, strict=True) if weight]
    # A term with a plus sign comes first, so that nothing is negated. Every row and column of the matrices above has
    # one.
    terms.sort(key=lambda term: term[0] < 0)
    (_, total), *others = ((weight, part if abs(weight) == 1 else abs(weight) * part) for weight, part in terms)
    for weight, part in others:
        # Not by operators: they take longer to trace.
        total = lax.add(total, part) if weight > 0 else lax.sub(total, part)
    return total
