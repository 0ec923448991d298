"""Strictness for every test and doctest: eight fake devices, no silent promotion, shapes checked at run time."""

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
