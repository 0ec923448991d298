"""Where PyTorch takes its turns: on the GPU if JAX has one, and otherwise on the CPU."""

import importlib.util
from typing import Any

import jax


def torch_device() -> str:
    """Return the name of PyTorch's device."""
    return "cuda" if jax.default_backend() == "gpu" else "cpu"


def why_not(*packages: str) -> str | None:
    """Return why PyTorch cannot take turns on JAX's device, or None if it can.

    Args:
      packages: names under which further packages that the peer needs are imported.
    """
    missing = [name for name in ("torch", *packages) if importlib.util.find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)} not installed: pip install -e '.[bench]'"
    platform = jax.default_backend()
    if platform == "cpu":
        return None
    import torch

    if platform != "gpu":
        return f"PyTorch does not run on a {platform}, where JAX does"
    if not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} runs on the CPU alone here, and JAX on a GPU"
    return None


def check_peer(*packages: str, leave_out: str) -> None:
    """Refuse to go on where PyTorch cannot take turns.

    Args:
      packages: as for `why_not`.
      leave_out: how to leave PyTorch out.

    Raises:
      SystemExit: with the reason.
    """
    reason = why_not(*packages)
    if reason is not None:
        raise SystemExit(f"PyTorch is the peer of this benchmark. {reason}, or {leave_out}")


def prepare(*, compiled: bool) -> Any:
    """Import PyTorch, and let it choose convolutions by their speed on a GPU, as XLA does.

    Args:
      compiled: whether `torch.compile` will be used. It keeps eight programs of a function and runs the rest eagerly.
        So all earlier programs are forgotten. Call it before the first call of a side, and not between turns.
    """
    import torch

    torch.backends.cudnn.benchmark = torch_device() == "cuda"
    if compiled:
        torch.compiler.reset()
    return torch


def finish() -> None:
    """Wait until PyTorch's device has done its work."""
    import torch

    if torch_device() == "cuda":
        torch.cuda.synchronize()


def release() -> None:
    """Give cached memory of the GPU back, so that JAX can have it."""
    if why_not() is None and torch_device() == "cuda":
        import torch

        torch.cuda.empty_cache()
