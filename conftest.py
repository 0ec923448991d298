"""Strictness for every test and doctest: eight fake devices, no silent promotion, shapes checked at run time."""

from collections.abc import Iterator

import chex

# Before JAX starts its backend, which happens at the first array.
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
