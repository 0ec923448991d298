"""How a convolution is lowered, and kernels that are prepared for it."""

from typing import Literal, NamedTuple

from jaxtyping import Array

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
