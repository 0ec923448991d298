"""Less time in the compiler: programs that are kept on disk, and programs that are soon compiled."""

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

_OPTION = "jax_compilation_cache_dir"
_LEVEL = "xla_backend_optimization_level"


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


class QuickProgram:
    """What `quick_jit` makes: called as `jax.jit`'s functions are, with `lower` and `clear_cache` of theirs."""

    def __init__(self, function: Callable[..., Any], level: int, options: Mapping[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self._plain: Any = jax.jit(function, **options)
        self._quick: Any = jax.jit(function, **options, compiler_options={_LEVEL: level})

    def _program(self, *arguments: Any) -> Any:
        arrays = [leaf for leaf in jax.tree.leaves(arguments) if isinstance(leaf, jax.Array)]
        # A program inside of another has no options of its own, and other compilers have other options.
        inside = any(isinstance(array, jax.core.Tracer) for array in arrays)
        if inside or _LEVEL in os.environ.get("XLA_FLAGS", ""):
            return self._plain
        platforms = {device.platform for array in arrays for device in array.devices()}
        return self._quick if platforms == {"cpu"} else self._plain

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._program(arguments, named)(*arguments, **named)

    def lower(self, *arguments: Any, **named: Any) -> jax.stages.Lowered:
        return self._program(arguments, named).lower(*arguments, **named)

    def clear_cache(self) -> None:
        for program in (self._plain, self._quick):
            program.clear_cache()


def quick_jit(*, level: int, **options: Any) -> Callable[[Callable[..., Any]], QuickProgram]:
    """`jax.jit` as a decorator, for a program that a CPU's compiler need not optimise as far as it can.

    Args:
      level: of LLVM's optimisation, 0 to 3, where all arrays are on CPUs; `XLA_FLAGS` that set one have their way.
      options: of `jax.jit`, such as `static_argnums`.

    >>> import jax.numpy as jnp
    >>> @quick_jit(level=0, static_argnums=0)
    ... def raised(power, x):
    ...     return x**power
    >>> raised(2, jnp.arange(3.0)).tolist()
    [0.0, 1.0, 4.0]
    """
    return lambda function: QuickProgram(function, level, options)


# The program runs once: a CPU's compiler spends longer on drawing the first weights than on a training step, 11 s for
# the paper's network for 96x96, and 1.3 s if it does not optimise.
jit_once = quick_jit(level=0, static_argnums=0)


# Training waits for matrix products and memory: with more than the first level it is no faster in float32, and up to
# 4 % in bfloat16, after a compilation that takes 8 to 23 % longer.
TRAINING_LEVEL = 1
