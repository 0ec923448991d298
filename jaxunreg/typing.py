"""Names of the arrays that many functions share."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Array, Float, Key, Num

PRNGKey: TypeAlias = Key[Array, ""]
"""A new-style PRNG key, `jax.random.key(seed)`."""

Variables: TypeAlias = Mapping[str, Any]
"""Flax variables: `{"params": ..., "batch_stats": ...}`, one pytree."""

AnyImage: TypeAlias = Num[Array | np.ndarray, "height width channels"]
"""An image from a user: uint8, or floating point in [0, 1]."""

AnyImages: TypeAlias = Num[Array | np.ndarray, "batch height width channels"]
"""Images from a user, NHWC: uint8, or floating point in [0, 1]."""

Image: TypeAlias = Float[Array, "height width channels"]
"""An image inside the library: floating point in [0, 1]."""

Images: TypeAlias = Float[Array, "batch height width channels"]
"""Images inside the library: floating point in [0, 1], NHWC."""

Latents: TypeAlias = Float[Array, "batch latent"]
"""Points of the latent space."""

PyTree: TypeAlias = Any
"""Any nesting of containers with arrays as leaves."""

Length: TypeAlias = Any
"""Length of an axis: an integer, or a symbolic one while a program is exported for batches of any size."""

__all__ = [
    "AnyImage",
    "AnyImages",
    "Image",
    "Images",
    "Latents",
    "Length",
    "PRNGKey",
    "PyTree",
    "Variables",
]
