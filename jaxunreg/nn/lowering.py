"""The lowerings of a convolution, and kernels that are prepared for them."""

from typing import Literal, NamedTuple

from jaxtyping import Array

Lowering = Literal["auto", "native", "matmul"]


def on_platform(lowering: Lowering, platform: str) -> Lowering:
    """Return the lowering, or what `"auto"` stands for on a platform, given as `jax.Device.platform` names it.

    >>> on_platform("auto", "cpu"), on_platform("auto", "tpu"), on_platform("native", "cpu")
    ('matmul', 'native', 'native')
    """
    if lowering != "auto":
        return lowering
    return "matmul" if platform == "cpu" else "native"


class Prepared(NamedTuple):
    """A kernel that is prepared for many calls: its part of the matrix-product lowering is done; see `prepare`.

    Attributes:
      kernel: `[4, 4, c_in, c_out]`, what the native lowering takes.
      points: what the matrix-product lowering takes, or None where that is the kernel.
    """

    kernel: Array
    points: list[Array] | None
