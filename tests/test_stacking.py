"""Stacks of parts that come one after another."""

import weakref
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxunreg.stacking import stacked


def test_it_is_the_stack_and_keeps_no_part():
    rows = np.random.default_rng(0).normal(size=(5, 3, 2)).astype(np.float32)
    before: list[weakref.ref[Array]] = []

    def parts() -> Iterator[dict[str, Array]]:
        for row in rows:
            assert sum(reference() is not None for reference in before) <= 2
            part = jnp.asarray(row)
            before.append(weakref.ref(part))
            yield {"row": part, "sum": jnp.sum(part)}

    found = stacked(parts(), 5)
    np.testing.assert_array_equal(found["row"], rows)
    np.testing.assert_allclose(found["sum"], rows.sum(axis=(1, 2)), rtol=1e-5)
