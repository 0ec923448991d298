"""Strictness for every test and doctest: eight fake devices, no silent promotion, shapes checked at run time."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator

# For NumPy's BLAS, scikit-learn and PyTorch, in each worker of pytest-xdist and each process that a test starts. Their
# idle threads spin, which takes the core of the other worker.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import chex


def compile_quickly(flags: str) -> str:
    """Return XLA's flags for fast compilation, which takes most of a test's time.

    Machine code is not optimised by LLVM, and comes from XLA's older emitters while XLA has them: half the processor
    time (234 s and then 114 for test_svhn_toy and test_training). It is made in one part, since the other cores have
    tests of their own. XLA's own passes, and the rounding that the tests allow, are the same. Flags that name the level
    are kept.
    """
    if "--xla_backend_optimization_level" in flags:
        return flags
    quick = ["--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"]
    return " ".join([flags, "--xla_backend_optimization_level=0", *known_to_xla(quick)])


def known_to_xla(flags: list[str]) -> list[str]:
    """Return the flags that XLA knows. Each is tried in a process of its own, which an unknown flag ends."""
    start = [sys.executable, "-c", "import jax; jax.devices()"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}  # leaving a GPU alone
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    tried = [subprocess.Popen(start, env={**environment, "XLA_FLAGS": flag}, **quiet) for flag in flags]
    return [flag for flag, process in zip(flags, tried, strict=True) if process.wait() == 0]


# Set before JAX starts its backend, which happens at the first array. Processes that tests start inherit the flags.
os.environ["XLA_FLAGS"] = compile_quickly(os.environ.get("XLA_FLAGS", ""))
chex.set_n_cpu_devices(8)

import jax
import jaxtyping
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jaxtyping.install_import_hook("jaxunreg", "beartype.beartype")


_COMPILED: list[str] = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, *_, **__: _COMPILED.append(event) if event.endswith("backend_compile_duration") else None
)


@pytest.fixture(scope="module", autouse=True)
def earlier_modules() -> None:
    """Keep Python's garbage collector from what earlier modules left: compiled programs, which stay. It takes long."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def compiled() -> list[str]:
    """A list that grows by an entry for every program that is compiled."""
    return _COMPILED


@pytest.fixture
def key() -> jax.Array:
    """A PRNG key, the same in every run."""
    return jax.random.key(0)


@pytest.fixture
def no_type_checks() -> Iterator[None]:
    """For tests of messages to users: users run without the type checker, which would raise first."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
