"""Strictness for every test and doctest: eight fake devices, no silent promotion, shapes checked at run time."""

import os
from collections.abc import Iterator

import chex

# Before JAX starts its backend, which happens at the first array. Machine code at the first of LLVM's levels: XLA's own
# passes and the rounding that the tests allow are the same, and most of a test's time goes into compiling (110 s of
# processor time and then 32 for test_checkpoint, 54 and 22 for test_networks). Processes that tests start inherit it.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=1"
chex.set_n_cpu_devices(8)

import jax
import jaxtyping
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jaxtyping.install_import_hook("jaxunreg", "beartype.beartype")


@pytest.fixture
def key() -> jax.Array:
    """A PRNG key, the same in every run."""
    return jax.random.key(0)


@pytest.fixture
def no_type_checks() -> Iterator[None]:
    """For tests of what a user sees, who runs without the type checker that would get there first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
