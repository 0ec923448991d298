"""The compilation cache, in processes of their own, since it is a setting of the process; a program's options."""

import os
import subprocess
import sys
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxunreg import compilation

PROGRAM = """
import sys, jax, jax.numpy as jnp
from jaxunreg.compilation import keep_compiled
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event.endswith("cache_hits")))
directory = keep_compiled(*sys.argv[1:])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((3, 3))).block_until_ready()
print(directory, sum(hits))
"""


def run(*args: str, **environment: str) -> list[str]:
    kept = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    command = [sys.executable, "-c", PROGRAM, *args]
    return subprocess.run(
        command, env={**kept, **environment}, check=True, capture_output=True, text=True
    ).stdout.split()


def test_the_second_process_finds_what_the_first_compiled(tmp_path):
    assert run(str(tmp_path / "given"))[1] == "0"
    directory, hits = run(str(tmp_path / "given"))
    assert directory == str(tmp_path / "given")
    assert int(hits) > 0


def test_the_default_is_the_users_cache_and_a_cache_that_is_set_stays(tmp_path):
    assert run(XDG_CACHE_HOME=str(tmp_path))[0] == str(tmp_path / "jaxunreg")
    assert run(str(tmp_path / "given"), JAX_COMPILATION_CACHE_DIR=str(tmp_path / "set"))[0] == str(tmp_path / "set")


OPTION = "xla_backend_optimization_level"
OPTIONS = {OPTION: 1, "xla_cpu_prefer_vector_width": 512}


@pytest.fixture
def chosen(monkeypatch):
    """A program that returns the compiler options that it would run with; none is set for all programs."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8")
    with monkeypatch.context() as patch:
        patch.setattr(jax, "jit", lambda function, *, compiler_options=None, **_: lambda *arguments: compiler_options)
        return compilation.cpu_jit(OPTIONS, static_argnums=0)(lambda static, x: x)


def test_a_program_has_its_options_on_cpus_alone(chosen):
    assert chosen(2, {"x": jnp.ones(3)}) == OPTIONS
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("images",))
    split = jax.device_put(jnp.ones(8), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("images")))
    assert chosen(2, split) == OPTIONS
    on_gpu = mock.Mock(spec=jax.Array, devices=lambda: {mock.Mock(platform="gpu")})
    assert chosen(2, on_gpu) is None
    # Where NumPy's arrays would go is not known.
    assert chosen(2, np.ones(3)) is None


def test_a_program_inside_of_another_has_no_options_of_its_own(chosen):
    inside = []
    jax.make_jaxpr(lambda x: (inside.append(chosen(2, x)), x)[1])(jnp.ones(3))
    assert inside == [None]


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_that_is_set_for_all_programs_is_left(chosen, monkeypatch, option):
    assert chosen(2, jnp.ones(3)) == OPTIONS
    monkeypatch.setenv("XLA_FLAGS", f"--{option}=3")
    assert chosen(2, jnp.ones(3)) is None


def test_a_program_with_options_computes_the_same_lowered_and_inside_of_another(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    power = compilation.cpu_jit(OPTIONS, static_argnums=0)(lambda power, x: x**power)
    x = jnp.arange(4.0)
    expected = [0.0, 1.0, 8.0, 27.0]
    assert power(3, x).tolist() == expected
    assert power(3, x=x).tolist() == expected
    assert power.lower(3, x).compile()(x).tolist() == expected
    assert jax.jit(power, static_argnums=0)(3, x).tolist() == expected
    assert jax.vmap(lambda row: power(3, row))(x[None])[0].tolist() == expected
