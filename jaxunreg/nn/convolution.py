"""The strided 4x4 convolution of the encoder and the transposed one of the decoder, lowered per platform.

Each is one mathematical function with two lowerings that agree to rounding, in value and in every
derivative, for one layout of the weights. `"native"` is XLA's convolution. `"matmul"` is matrix products
beside additions and rearrangements of their operands: Winograd's minimal filtering (`jaxunreg.nn.winograd`), and
where that does not pay im2col for `conv` and overlap-add for `conv_transpose`. `"auto"` is matrix products
where the program is compiled for a CPU and the native convolution on every other platform. That choice is made
when the program is lowered (`jax.lax.platform_dependent`), so an exported program carries the right one for
each of its platforms. Nothing but the `lowering` argument decides: no flag, no environment variable. A whole
network is forced by handing the argument to each of its layers, which is what `NetworkConfig.lowering` does.

On a CPU XLA lowers the gradients of a strided convolution, and every transposed convolution, to a slow
generic loop, at 0.1 to 0.3 of the speed of its matrix product.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, get_args

import jax.numpy as jnp
from jax import lax
from jax.export import is_symbolic_dim
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument
from jaxunreg.nn import rounding, winograd
from jaxunreg.typing import Length

Lowering = Literal["auto", "native", "matmul"]


def on_platform(lowering: Lowering, platform: str) -> Lowering:
    """The lowering itself, or what `"auto"` stands for on one platform, as `jax.Device.platform` names it.

    >>> on_platform("auto", "cpu"), on_platform("auto", "tpu"), on_platform("native", "cpu")
    ('matmul', 'native', 'native')
    """
    if lowering != "auto":
        return lowering
    return "matmul" if platform == "cpu" else "native"


class Prepared(NamedTuple):
    """A kernel with its part of the matrix-product lowering done, for many calls with the same kernel; see `prepare`.

    Attributes:
      kernel: `[4, 4, c_in, c_out]`, what the native lowering takes.
      points: what the matrix-product lowering takes, or None where that is the kernel.
    """

    kernel: Array
    points: list[Array] | None


def prepare(kernel: Array, outputs: tuple[int, int], *, transpose: bool = False) -> Prepared:
    """Do for a kernel what `conv`, or with `transpose` `conv_transpose`, would do at each call.

    Args:
      kernel: `[4, 4, c_in, c_out]`.
      outputs: height and width of what `conv` returns, or of what `conv_transpose` takes.
      transpose: for `conv_transpose`.

    Returns:
      What either function takes in place of the kernel. It can be four times as large.

    >>> import jax.numpy as jnp
    >>> x, kernel = jnp.ones((1, 4, 6, 16)), jnp.ones((4, 4, 16, 16))
    >>> bool(jnp.allclose(conv(x, prepare(kernel, (2, 3))), conv(x, kernel)))
    True
    """
    if min(kernel.shape[2:]) < _FEWEST_CHANNELS:
        return Prepared(kernel, None)
    return Prepared(kernel, winograd.prepare(kernel, outputs, transpose=transpose))


def conv(
    x: Array, kernel: Array | Prepared, *, lowering: str = "auto", dtype: DTypeLike | None = None
) -> Float[Array, "n rows columns c_out"]:
    """4x4 convolution with stride 2 and padding 1, which halves height and width.

    `y[n, i, j, o] = sum_{u, v, c} x[n, 2i + u - 1, 2j + v - 1, c] kernel[u, v, c, o]`, with zeros outside
    of `x`. As everywhere in deep learning the kernel is not flipped. It equals PyTorch's
    `Conv2d(c_in, c_out, 4, 2, 1)` with `kernel = weight.permute(2, 3, 1, 0)`.

    Args:
      x: `[n, height, width, c_in]`, floating point, height and width even.
      kernel: `[4, 4, c_in, c_out]`, the dtype of `x` or a narrower one, or what `prepare` made of it.
      lowering: `"auto"`, `"native"` or `"matmul"`; see the module's docstring.
      dtype: of the products' operands (where that is faster they are wider): the kernel's, which is the default, or a
        narrower one. Below 32 bits they are accumulated in float32. A wider kernel is rounded after all additions.

    Returns:
      `[n, height / 2, width / 2, c_out]`, the dtype of `x`.

    Raises:
      ArgumentError: wrong rank, odd height or width, a kernel that does not fit `x`, or an unknown lowering.
      ArgumentTypeError: a kernel wider than `x`, a `dtype` wider than the kernel, or one that is not floating point.

    >>> import jax.numpy as jnp
    >>> conv(jnp.ones((1, 4, 6, 3)), jnp.ones((4, 4, 3, 8)))[0, :, :, 0].tolist()
    [[27.0, 36.0, 27.0], [27.0, 36.0, 27.0]]
    """
    kernel = kernel if isinstance(kernel, Prepared) else Prepared(kernel, None)
    operands = _check("conv", x, kernel.kernel, lowering, dtype)
    if x.shape[1] % 2 or x.shape[2] % 2:
        raise ArgumentError(
            f"x of shape {x.shape}", "an even height and width for conv to halve", "crop or pad it", "x"
        )
    matmul, native = (partial(function, dtype=operands) for function in (_conv_matmul, _conv_native))
    return _lower(x, kernel, lowering, matmul=matmul, native=native)


def conv_transpose(
    x: Array,
    kernel: Array | Prepared,
    *,
    lowering: str = "auto",
    dtype: DTypeLike | None = None,
    planes: bool = False,
) -> Float[Array, "n rows columns c_out"] | Float[Array, "c_out 4 n pixels"]:
    """Transposed 4x4 convolution with stride 2 and padding 1, which doubles height and width.

    `y[n, 2i + u - 1, 2j + v - 1, o] += sum_c x[n, i, j, c] kernel[u, v, c, o]` over all `i, j, u, v`; what
    falls outside of `y` is dropped. It equals PyTorch's `ConvTranspose2d(c_in, c_out, 4, 2, 1)` with
    `kernel = weight.permute(2, 3, 0, 1)`. It is the adjoint of `conv` with the kernel's channels exchanged,

        <conv(a, kernel), b> = <a, conv_transpose(b, kernel.transpose(0, 1, 3, 2))>,

    and so the gradient of `conv` with respect to its input. The kernel is not flipped; to
    `flax.linen.ConvTranspose`, which correlates, this is the kernel turned by 180 degrees.

    Args:
      x: `[n, height, width, c_in]`, floating point.
      kernel: `[4, 4, c_in, c_out]`, the dtype of `x` or a narrower one, or what `prepare` made of it.
      lowering: `"auto"`, `"native"` or `"matmul"`; see the module's docstring.
      dtype: of the products' operands, as in `conv`.
      planes: return `to_planes` of the result, which a CPU makes, and sums over, faster where `c_out` is small.

    Returns:
      `[n, 2 height, 2 width, c_out]`, or with `planes` `[c_out, 4, n, height width]`, the dtype of `x`.

    Raises:
      ArgumentError: wrong rank, a kernel that does not fit `x`, or an unknown lowering.
      ArgumentTypeError: a kernel wider than `x`, a `dtype` wider than the kernel, or one that is not floating point.

    >>> import jax.numpy as jnp
    >>> conv_transpose(jnp.ones((1, 2, 2, 8)), jnp.ones((4, 4, 8, 3)))[0, 0, :, 0].tolist()
    [8.0, 16.0, 16.0, 8.0]
    """
    kernel = kernel if isinstance(kernel, Prepared) else Prepared(kernel, None)
    operands = _check("conv_transpose", x, kernel.kernel, lowering, dtype)
    functions = _conv_transpose_matmul, _conv_transpose_native
    matmul, native = (partial(function, dtype=operands, planes=planes) for function in functions)
    return _lower(x, kernel, lowering, matmul=matmul, native=native)


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


def _is_within(dtype: jnp.dtype, widest: jnp.dtype) -> bool:
    """Whether a dtype is floating point, and `widest` or narrower."""
    return bool(jnp.issubdtype(dtype, jnp.floating)) and (dtype == widest or dtype.itemsize < widest.itemsize)


def _check(name: str, x: Array, kernel: Array, lowering: str, dtype: DTypeLike | None) -> jnp.dtype:
    """Refuse what does not fit; else the dtype of the products' operands."""
    if lowering not in get_args(Lowering):
        raise ArgumentError(f"{argument('lowering', lowering)} for {name}", f"one of {list(get_args(Lowering))}")
    if x.ndim != 4:
        raise ArgumentError(f"x of shape {x.shape} for {name}", "[n, height, width, c_in]", "add a batch axis", "x")
    if kernel.ndim != 4 or kernel.shape[:3] != (4, 4, x.shape[3]):
        raise ArgumentError(
            f"x of shape {x.shape} and a kernel of shape {kernel.shape} for {name}",
            f"a kernel [4, 4, {x.shape[3]}, c_out]",
            field="kernel",
        )
    if not jnp.issubdtype(x.dtype, jnp.floating) or not _is_within(kernel.dtype, x.dtype):
        raise ArgumentTypeError(
            f"x of {x.dtype} and a kernel of {kernel.dtype} for {name}",
            "floating-point dtypes, the kernel's that of x or narrower",
            "cast one of them",
            "kernel",
        )
    operands = jnp.dtype(kernel.dtype if dtype is None else dtype)
    if not _is_within(operands, kernel.dtype):
        raise ArgumentTypeError(
            f"{argument('dtype', str(operands))} and a kernel of {kernel.dtype} for {name}",
            "a floating-point dtype, that of the kernel or narrower",
            "cast the kernel",
        )
    return operands


_Convolution = Callable[[Array, Prepared], Array]


def _lower(x: Array, kernel: Prepared, lowering: str, *, matmul: _Convolution, native: _Convolution) -> Array:
    if lowering == "auto":
        return lax.platform_dependent(x, kernel, cpu=matmul, default=native)
    return (matmul if lowering == "matmul" else native)(x, kernel)


def _conv_native(x: Array, kernel: Prepared, *, dtype: jnp.dtype) -> Array:
    y = lax.conv_general_dilated(
        x.astype(dtype),
        kernel.kernel.astype(dtype),
        window_strides=(2, 2),
        padding=((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return y.astype(x.dtype)


def _conv_transpose_native(x: Array, kernel: Prepared, *, dtype: jnp.dtype, planes: bool) -> Array:
    # A convolution over x with a zero between neighbours; the kernel turned by 180 degrees scatters, not
    # gathers.
    y = lax.conv_general_dilated(
        x.astype(dtype),
        kernel.kernel[::-1, ::-1].astype(dtype),
        window_strides=(1, 1),
        padding=((2, 2), (2, 2)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    y = y.astype(x.dtype)
    return to_planes(y) if planes else y


# The matrix-product lowering. It has no derivative rule, so that every mode and order of differentiation works:
# whatever rearranges an operand is written in operations whose transpose is the fast form of its adjoint.
def _conv_matmul(x: Array, kernel: Prepared, *, dtype: jnp.dtype) -> Array:
    n, height, width, c_in = x.shape
    c_out = kernel.kernel.shape[3]
    outputs = height // 2, width // 2
    points = kernel.points
    if points is None and _winograd_pays(n, outputs, c_in, c_out):
        points = winograd.prepare(kernel.kernel.astype(_accumulator(x)), outputs)
    # In 32 bits, as the transpose adds up, and XLA adds bfloat16 slowly.
    wide = x.astype(_accumulator(x))
    if points is not None:
        return winograd.conv(wide, points, dtype).astype(x.dtype)
    # In 32 bits: a product this thin waits for memory, and XLA moves bfloat16 slowly; im2col of 32x32x3 images takes
    # four times as long.
    y = _product(_patches(wide), kernel.kernel.reshape(16 * c_in, c_out).astype(wide.dtype))
    return y.reshape(n, *outputs, c_out).astype(x.dtype)


def _conv_transpose_matmul(x: Array, kernel: Prepared, *, dtype: jnp.dtype, planes: bool) -> Array:
    n, height, width, c_in = x.shape
    c_out = kernel.kernel.shape[3]
    points = kernel.points
    if points is None and _winograd_pays(n, (height, width), c_in, c_out):
        points = winograd.prepare(kernel.kernel.astype(_accumulator(x)), (height, width), transpose=True)
    if points is not None:
        y = winograd.conv_transpose(x.astype(_accumulator(x)), points, dtype).astype(x.dtype)
        return to_planes(y) if planes else y
    narrow = kernel.kernel.astype(dtype)
    y = _overlap_planes(x, narrow) if planes else _overlap_add(_column_pairs(x, narrow))
    return y.astype(x.dtype)


# Below, the products are too thin: 3 -> 32 channels at 32x32 is faster by im2col.
_FEWEST_CHANNELS = 16

# Tiles below which preparing the kernel costs more than its products save.
_FEWEST_TILES = 128


def _winograd_pays(n: Length, outputs: tuple[int, int], c_in: int, c_out: int) -> bool:
    """Whether a kernel that is not prepared should be.

    Under `vmap` n is 1, and in a program for batches of any size it is not known; the size of the image then decides.
    """
    many = min(outputs) >= 4 or (not is_symbolic_dim(n) and n * winograd.tiles(outputs) >= _FEWEST_TILES)
    return many and min(c_in, c_out) >= _FEWEST_CHANNELS


def _accumulator(x: Array) -> jnp.dtype:
    return jnp.dtype(jnp.float32) if x.dtype.itemsize < 4 else x.dtype


def _product(a: Array, b: Array) -> Array:
    """Matrix product, in float32 or wider."""
    return lax.dot(a, b, preferred_element_type=_accumulator(a))


# With a border of one pixel the image is blocks of 2x2, and output [i, j] sees the blocks [i + a, j + b] for a and b in
# {0, 1}. A patch is ordered as the kernel is: block row a, row within it, block column b, column within it, channel.
def _patches(x: Array) -> Array:
    """im2col: the 4x4 patch under each output pixel, `[n, 2h, 2w, c]` to `[n h w, 16 c]`."""
    n, height, width, c = x.shape
    h, w = height // 2, width // 2
    blocks = winograd.pad_ends(x, ((0, 0), (1, 1), (1, 1), (0, 0))).reshape(n, h + 1, 2, w + 1, 2 * c)

    def part(a: int, b: int) -> Array:
        return blocks[:, a : a + h, :, b : b + w].transpose(0, 1, 3, 2, 4)

    patches = jnp.stack([jnp.stack([part(a, 0), part(a, 1)], axis=4) for a in (0, 1)], axis=3)
    return patches.reshape(n * h * w, 16 * c)


# Overlap-add, the transpose of im2col, one axis after the other. Output columns 2j - 1 and 2j are a pair: they take the
# kernel's columns 0 and 1 from pixel j, and 2 and 3 from the pixel before.
def _column_pairs(x: Array, kernel: Array) -> Array:
    """The transposed convolution along columns: `[n, h, w, c_in]` to pairs of them, `[n, h, w + 1, 4, 2 c_out]`.

    The axis of four is the kernel's rows.
    """
    n, h, w, c_in = x.shape
    c_out = kernel.shape[3]
    taps = kernel.reshape(4, 2, 2, c_in, c_out)
    if _pairs_pay(c_in, c_out):
        both = taps[:, ::-1].transpose(1, 3, 0, 2, 4).reshape(2 * c_in, 8 * c_out)
        return _product(rounding.move(_neighbours, (x,), kernel.dtype), both).reshape(n, h, w + 1, 4, 2 * c_out)
    each = taps.transpose(3, 1, 0, 2, 4).reshape(c_in, 16 * c_out)
    products = _product(_pixels(x, kernel.dtype), each)
    own, following = winograd.unstack(products.reshape(n, h, w, 2, 4, 2 * c_out), 3)
    return winograd.add_shifted(own, following, 2)


def _neighbours(x: Array) -> Array:
    """Each pixel beside the one before, with a border of zeros: `[n, h, w, c]` to `[n h (w + 1), 2 c]`."""
    bordered = winograd.pad(x, 2, 1, 1)
    return jnp.concatenate([bordered[:, :, :-1], bordered[:, :, 1:]], axis=3).reshape(-1, 2 * x.shape[3])


def _pixels(x: Array, dtype: DTypeLike) -> Array:
    """The pixels as rows of a matrix: `[n, h, w, c]` to `[n h w, c]`, rounded to `dtype`."""

    def join(first: Array, others: Array) -> Array:
        return jnp.concatenate([first, others], axis=1).reshape(-1, x.shape[3])

    if not rounding.narrows(x, dtype):
        return x.astype(dtype).reshape(-1, x.shape[3])
    # In two parts, or XLA rounds in the loop that adds up the layer before, which is then three times as slow.
    return rounding.move(join, tuple(lax.split(x, (1, x.shape[1] - 1), axis=1)), dtype)


def _pairs_pay(c_in: int, c_out: int) -> bool:
    """Whether the product should add columns too: its operand is then twice as wide and its result half as wide."""
    return 8 * c_out >= c_in


def _overlap_add(pairs: Array) -> Array:
    """The same along rows: `[n, h, w + 1, 4, 2 c]`, from `_column_pairs`, to `[n, 2h, 2w, c]`."""
    n, h, columns, _, channels = pairs.shape
    own, following = winograd.unstack(pairs.reshape(n, h, columns, 2, 2, channels), 3)
    own, following = (part.transpose(0, 1, 3, 2, 4) for part in (own, following))
    blocks = winograd.add_shifted(own, following, 1)
    return blocks.reshape(n, 2 * h + 2, 2 * columns, channels // 2)[:, 1:-1, 1:-1]


# The same with the weights as the left operand, whose products are planes. Adding is then over neighbours in memory,
# but the gradients are slower than those of the above.
def _product_of_rows(a: Array, b: Array) -> Array:
    """`a . b^T`, in float32 or wider; with `b.T` XLA would write out the transposed array."""
    return lax.dot_general(a, b, (((1,), (1,)), ((), ())), preferred_element_type=_accumulator(a))


def _overlap_planes(x: Array, kernel: Array) -> Array:
    """`to_planes` of the transposed convolution: `[n, h, w, c_in]` to `[c_out, 4, n, h w]`."""
    n, h, w, c_in = x.shape
    c_out = kernel.shape[3]
    taps = kernel.reshape(4, 2, 2, c_in, c_out)
    if _pairs_pay(c_in, c_out):
        both = taps[:, ::-1].transpose(0, 2, 4, 1, 3).reshape(8 * c_out, 2 * c_in)
        pairs = _product_of_rows(both, rounding.move(_neighbours, (x,), kernel.dtype)).reshape(4, 2, c_out, n, h, w + 1)
    else:
        each = taps.transpose(1, 0, 2, 4, 3).reshape(16 * c_out, c_in)
        own, following = _product_of_rows(each, _pixels(x, kernel.dtype)).reshape(2, 4, 2, c_out, n, h, w)
        pairs = winograd.add_shifted(own, following, 5)
    blocks = winograd.add_shifted(pairs[:2], pairs[2:], 4)

    def plane(row: int, column: int) -> Array:
        # The first of a pair is odd and belongs to the pixel before.
        return blocks[1 - row, 1 - column, :, :, row : row + h, column : column + w]

    planes = jnp.stack([plane(row, column) for row in (0, 1) for column in (0, 1)], axis=1)
    return planes.reshape(c_out, 4, n, h * w)
