"""What the processor offers: cores that this process may use, and products in bfloat16."""

import os
import warnings
from pathlib import Path

import jax

CPUINFO = Path("/proc/cpuinfo")
"""The file in which Linux lists what the processor can do."""

# Of AMD and Intel, and of ARM.
_INSTRUCTIONS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def cores() -> int:
    """Return how many cores of the CPU this process may use.

    >>> cores() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def multiplies_bfloat16() -> bool | None:
    """Return whether the processor has instructions that multiply in bfloat16, or None where Linux does not tell.

    >>> multiplies_bfloat16() in (True, False, None)
    True
    """
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for name, _, value in (line.partition(":") for line in lines):
        if name.strip() in ("flags", "Features"):  # of x86 and of ARM; the cores are alike
            return not _INSTRUCTIONS.isdisjoint(value.split())
    return None


def warn_of_slow_bfloat16(arithmetic: str, platform: str | None = None) -> None:
    """Warn if an arithmetic is bfloat16 and would run on a CPU without instructions for it. Python shows it once.

    Args:
      arithmetic: a precision, or the arithmetic of a model.
      platform: what `jax.Device.platform` names; by default that of JAX's default device.

    >>> warn_of_slow_bfloat16("float32")
    """
    if not arithmetic.startswith("bfloat16") or (platform or jax.default_backend()) != "cpu":
        return
    if multiplies_bfloat16() is False:
        # From this line whoever calls, since Python shows a warning once a line.
        warnings.warn(
            "precision='bfloat16' takes longer than 'float32' on this processor, which has no instructions for it",
            stacklevel=1,
        )
