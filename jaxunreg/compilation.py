"""Keep compiled programs on disk, and compile programs for CPUs with options of their own."""

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import jax

_OPTION = "jax_compilation_cache_dir"
_LEVEL = "xla_backend_optimization_level"

CompilerOptions: TypeAlias = Mapping[str, int]


def keep_compiled(directory: str | Path | None = None) -> Path | None:
    """Turn on JAX's persistent compilation cache. Programs call this before the first `jit`; libraries do not.

    A cache that is already set by `JAX_COMPILATION_CACHE_DIR` or `jax.config` is left as it is. JAX reads a compiled
    program only if its own version, the compiler's flags and the processor are the same.

    Args:
      directory: folder for compiled programs; by default `jaxunreg` in the user's cache directory (`XDG_CACHE_HOME`).

    Returns:
      The directory in use, or None for a user without a home, whose programs are not kept.
    """
    current: str | None = getattr(jax.config, _OPTION)
    if current is None:
        if directory is None:
            try:
                directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxunreg"
            except RuntimeError:
                return None
        current = str(directory)
        jax.config.update(_OPTION, current)
        # A program that compiles in less time is faster to compile than to find.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
    return Path(current)


class CPUProgram:
    """The result of `cpu_jit`. Call it like a function of `jax.jit`. It has `lower` and `clear_cache`, too."""

    def __init__(self, function: Callable[..., Any], on_cpu: CompilerOptions, options: Mapping[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self._named = frozenset(on_cpu)
        self._plain: Any = jax.jit(function, **options)
        self._on_cpu: Any = jax.jit(function, **options, compiler_options=dict(on_cpu))

    def _program(self, *arguments: Any) -> Any:
        arrays = [leaf for leaf in jax.tree.leaves(arguments) if isinstance(leaf, jax.Array)]
        # A program inside another one cannot have its own options, and compilers for other devices have other options.
        inside = any(isinstance(array, jax.core.Tracer) for array in arrays)
        flags = os.environ.get("XLA_FLAGS", "")
        if inside or any(option in flags for option in self._named):
            return self._plain
        platforms = {device.platform for array in arrays for device in array.devices()}
        return self._on_cpu if platforms == {"cpu"} else self._plain

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._program(arguments, named)(*arguments, **named)

    def lower(self, *arguments: Any, **named: Any) -> jax.stages.Lowered:
        return self._program(arguments, named).lower(*arguments, **named)

    def clear_cache(self) -> None:
        for program in (self._plain, self._on_cpu):
            program.clear_cache()


def cpu_jit(on_cpu: CompilerOptions, **options: Any) -> Callable[[Callable[..., Any]], CPUProgram]:
    """Decorate like `jax.jit`, with options of XLA's compiler for CPUs.

    Args:
      on_cpu: the compiler's options. They are used if all arrays are on CPUs, and if `XLA_FLAGS` names none of them.
      options: options of `jax.jit`, such as `static_argnums`.

    >>> import jax.numpy as jnp
    >>> @cpu_jit(TRAINING, static_argnums=0)
    ... def raised(power, x):
    ...     return x**power
    >>> raised(2, jnp.arange(3.0)).tolist()
    [0.0, 1.0, 4.0]
    """
    return lambda function: CPUProgram(function, on_cpu, options)


# For a program that runs once. A CPU's compiler spends longer on the program that draws the first weights than on a
# training step: 11 s for the paper's network for 96x96, and 1.3 s without optimisation.
jit_once = cpu_jit({_LEVEL: 0}, static_argnums=0)


TRAINING: CompilerOptions = {_LEVEL: 1, "xla_cpu_prefer_vector_width": 512}
"""The options for training programs: LLVM's optimisation level, and bits of a vector.

Training waits for matrix products and memory. With a higher level it is no faster in float32 and up to 4 % faster in
bfloat16, and compiling takes 8 to 23 % longer. XLA's vectors have at most 256 bits by default. With 512, training is
faster on a Zen 5 and as fast on a Zen 4, and scoring is no faster on either.
"""

ONE_CORE: CompilerOptions = {"xla_cpu_multi_thread_eigen": False}
"""The option for programs that one core runs alone: no operation is split among cores."""
