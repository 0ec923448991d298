"""Less time in the compiler: programs that are kept on disk, and programs that are soon compiled."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

_OPTION = "jax_compilation_cache_dir"


def keep_compiled(directory: str | Path | None = None) -> Path:
    """Turn JAX's persistent compilation cache on, for programs and not for libraries to call, before the first `jit`.

    A cache that is already set, by `JAX_COMPILATION_CACHE_DIR` or `jax.config`, is left as it is. A program is read
    only where JAX, the compiler's flags and the processor are the same.

    Args:
      directory: where to keep them; by default `jaxunreg` in the user's cache directory (`XDG_CACHE_HOME`).

    Returns:
      The directory in use.
    """
    current: str | None = getattr(jax.config, _OPTION)
    if current is None:
        if directory is None:
            directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxunreg"
        current = str(directory)
        jax.config.update(_OPTION, current)
        # Anything below is compiled sooner than found.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    return Path(current)


def jit_once(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.jit` with a static first argument, for a program that runs once: on a CPU it is not optimised by LLVM.

    A CPU's compiler spends longer on drawing the first weights than on a training step, unless it is told that the
    program need not be fast: 1.3 s and not 11 s for the paper's network for 96x96.

    >>> import jax.numpy as jnp
    >>> jit_once(lambda power, x: x**power)(2, jnp.arange(3.0)).tolist()
    [0.0, 1.0, 4.0]
    """
    quick = jax.jit(function, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})
    plain = jax.jit(function, static_argnums=0)

    @functools.wraps(function)
    def call(static: Any, *arguments: Any) -> Any:
        arrays = [leaf for leaf in jax.tree.leaves(arguments) if isinstance(leaf, jax.Array)]
        # A program inside of another has no options of its own, and other compilers have other options.
        inside = any(isinstance(array, jax.core.Tracer) for array in arrays)
        on_cpu = not inside and all(device.platform == "cpu" for array in arrays for device in array.devices())
        return (quick if on_cpu else plain)(static, *arguments)

    return call
