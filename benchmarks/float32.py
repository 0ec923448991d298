"""How an accelerator multiplies float32, in JAX and in PyTorch alike."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, Literal

import jax

Float32 = Literal["tensorfloat32", "float32"]
"""`tensorfloat32` keeps 10 bits of the fraction of each factor, where the device can. `float32` keeps all 23."""


@contextlib.contextmanager
def multiplied_as(float32: Float32) -> Iterator[None]:
    """Multiply float32 as `float32` says while the body runs. A CPU keeps all bits, and nothing is set for it.

    Without it, JAX's products and convolutions and PyTorch's convolutions round to TensorFloat-32, and PyTorch's
    products do not.

    >>> with multiplied_as("tensorfloat32"):
    ...     jax.config.jax_default_matmul_precision
    """
    if jax.default_backend() == "cpu":
        yield
        return
    with jax.default_matmul_precision(float32), _in_torch(float32 == "tensorfloat32"):
        yield


@contextlib.contextmanager
def _in_torch(tensorfloat32: bool) -> Iterator[None]:
    """Do the same for PyTorch, if it is imported."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    _set_torch("high" if tensorfloat32 else "highest", tensorfloat32)
    try:
        yield
    finally:
        _set_torch(*before)


def _set_torch(products: str, convolutions: bool) -> None:
    torch: Any = sys.modules["torch"]
    torch.set_float32_matmul_precision(products)
    torch.backends.cudnn.allow_tf32 = convolutions
