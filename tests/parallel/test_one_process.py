"""A single process: it is the first and has everything, and what `start` says where there is no cluster."""

import sys

import chex
import jax
import numpy as np
import pytest

from jaxunreg.parallel import processes
from jaxunreg.parallel.mesh import data_mesh, local, replicate
from jaxunreg.parallel.start import start


def test_one_process_is_the_first_and_has_all():
    mesh = data_mesh()
    assert processes.is_first(mesh)
    assert processes.share(5) == slice(0, 5)
    tree = {"a": np.arange(3), "b": np.ones((2, 2))}
    chex.assert_trees_all_equal(processes.gather(tree), tree)
    key = jax.random.key(3)
    assert local(replicate(key, mesh)) == key


def test_starting_comes_first_and_needs_a_cluster(monkeypatch):
    hook = sys.excepthook
    with pytest.raises(RuntimeError, match="before"):
        start("127.0.0.1:1", 1, 0)

    def none_found(*args, **options):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", none_found)
    with pytest.raises(
        ValueError, match="processes=None.*coordinator_address.*expected all three, or a start by SLURM"
    ):
        start()
    assert sys.excepthook is hook
