"""Compiled programs kept on disk, so that the next process need not compile them."""

import os
from pathlib import Path

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
