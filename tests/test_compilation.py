"""The compilation cache, in processes of their own, since it is a setting of the process."""

import os
import subprocess
import sys

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
