"""The strided 4x4 convolution of the encoder and the transposed one of the decoder, lowered per platform.

Each is one mathematical function with two lowerings. They use the same layout of the weights and agree up to rounding,
in value and in every derivative. `"native"` is XLA's convolution. `"matmul"` uses matrix products, with additions and
rearrangements of their operands: Winograd's minimal filtering (`jaxunreg.nn.winograd`), or, where that does not pay,
im2col for `conv` and overlap-add for `conv_transpose`. `"auto"` uses matrix products where the program is compiled for
a CPU, and the native convolution on every other platform. JAX makes that choice when it lowers the program
(`jax.lax.platform_dependent`), so an exported program carries the right one for each of its platforms. Only the
`lowering` argument decides: there is no flag and no environment variable. `NetworkConfig.lowering` hands the argument
to every layer of a network.

On a CPU, XLA lowers the gradients of a strided convolution, and every transposed convolution, to a slow generic loop.
The loop runs at 0.1 to 0.3 of the speed of XLA's matrix product.
"""

from collections.abc import Callable
from functools import partial
from typing import get_args

import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument
from jaxunreg.nn import winograd
from jaxunreg.nn.lowering import Lowering, Prepared
from jaxunreg.nn.matmul_convolution import FEWEST_CHANNELS, conv_matmul, conv_transpose_matmul
from jaxunreg.nn.native_convolution import conv_native, conv_transpose_native


def prepare(kernel: Array, outputs: tuple[int, int], *, transpose: bool = False) -> Prepared:
    """Prepare a kernel once, instead of at each call of `conv` or `conv_transpose`.

    Args:
      kernel: `[4, 4, c_in, c_out]`.
      outputs: height and width of what `conv` returns, or of what `conv_transpose` takes.
      transpose: prepare the kernel for `conv_transpose`.

    Returns:
      A prepared kernel, which that function takes in place of the kernel. It can be four times as large.

    >>> import jax.numpy as jnp
    >>> x, kernel = jnp.ones((1, 4, 6, 16)), jnp.ones((4, 4, 16, 16))
    >>> bool(jnp.allclose(conv(x, prepare(kernel, (2, 3))), conv(x, kernel)))
    True
    """
    if min(kernel.shape[2:]) < FEWEST_CHANNELS:
        return Prepared(kernel, None)
    return Prepared(kernel, winograd.prepare(kernel, outputs, transpose=transpose))


def conv(
    x: Array, kernel: Array | Prepared, *, lowering: str = "auto", dtype: DTypeLike | None = None
) -> Float[Array, "n rows columns c_out"]:
    """Convolve 4x4 with stride 2 and padding 1, which halves height and width.

    `y[n, i, j, o] = sum_{u, v, c} x[n, 2i + u - 1, 2j + v - 1, c] kernel[u, v, c, o]`, with zeros outside
    of `x`. As everywhere in deep learning the kernel is not flipped. It equals PyTorch's
    `Conv2d(c_in, c_out, 4, 2, 1)` with `kernel = weight.permute(2, 3, 1, 0)`.

    Args:
      x: `[n, height, width, c_in]`, floating point, height and width even.
      kernel: `[4, 4, c_in, c_out]`, the dtype of `x` or a narrower one, or what `prepare` made of it.
      lowering: `"auto"`, `"native"` or `"matmul"`; see the module's docstring.
      dtype: dtype of the products' operands (some are kept wider where that is faster): the kernel's dtype, which is
        the default, or a narrower one. Products of operands below 32 bits are accumulated in float32. A wider kernel is
        rounded after all additions.

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
    matmul, native = (partial(function, dtype=operands) for function in (conv_matmul, conv_native))
    return _lower(x, kernel, lowering, matmul=matmul, native=native)


def conv_transpose(
    x: Array,
    kernel: Array | Prepared,
    *,
    lowering: str = "auto",
    dtype: DTypeLike | None = None,
    planes: bool = False,
) -> Float[Array, "n rows columns c_out"] | Float[Array, "c_out 4 n pixels"]:
    """Convolve 4x4, transposed, with stride 2 and padding 1, which doubles height and width.

    `y[n, 2i + u - 1, 2j + v - 1, o] += sum_c x[n, i, j, c] kernel[u, v, c, o]` over all `i, j, u, v`; what
    falls outside of `y` is dropped. It equals PyTorch's `ConvTranspose2d(c_in, c_out, 4, 2, 1)` with
    `kernel = weight.permute(2, 3, 0, 1)`. It is the adjoint of `conv` with the kernel's channels exchanged,

        <conv(a, kernel), b> = <a, conv_transpose(b, kernel.transpose(0, 1, 3, 2))>,

    and so it is the gradient of `conv` with respect to its input. The kernel is not flipped. `flax.linen.ConvTranspose`
    correlates, so it gives the same result with the kernel turned by 180 degrees.

    Args:
      x: `[n, height, width, c_in]`, floating point.
      kernel: `[4, 4, c_in, c_out]`, the dtype of `x` or a narrower one, or what `prepare` made of it.
      lowering: `"auto"`, `"native"` or `"matmul"`; see the module's docstring.
      dtype: dtype of the products' operands, as in `conv`.
      planes: return `to_planes` of the result. A CPU makes planes, and sums over them, faster where `c_out` is small.

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
    functions = conv_transpose_matmul, conv_transpose_native
    matmul, native = (partial(function, dtype=operands, planes=planes) for function in functions)
    return _lower(x, kernel, lowering, matmul=matmul, native=native)


def _is_within(dtype: jnp.dtype, widest: jnp.dtype) -> bool:
    """Return whether a dtype is floating point and not wider than `widest`."""
    return bool(jnp.issubdtype(dtype, jnp.floating)) and (dtype == widest or dtype.itemsize < widest.itemsize)


def _check(name: str, x: Array, kernel: Array, lowering: str, dtype: DTypeLike | None) -> jnp.dtype:
    """Refuse arguments that do not fit, and return the dtype of the products' operands."""
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
            "floating-point dtypes, and a kernel that is not wider than x",
            "cast one of them",
            "kernel",
        )
    operands = jnp.dtype(kernel.dtype if dtype is None else dtype)
    if not _is_within(operands, kernel.dtype):
        raise ArgumentTypeError(
            f"{argument('dtype', str(operands))} and a kernel of {kernel.dtype} for {name}",
            "a floating-point dtype that is not wider than the kernel's",
            "cast the kernel",
        )
    return operands


_Convolution = Callable[[Array, Prepared], Array]


def _lower(x: Array, kernel: Prepared, lowering: str, *, matmul: _Convolution, native: _Convolution) -> Array:
    if lowering == "auto":
        return lax.platform_dependent(x, kernel, cpu=matmul, default=native)
    return (matmul if lowering == "matmul" else native)(x, kernel)
