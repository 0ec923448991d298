"""Milliseconds an image of the feature network, against PyTorch on the same CPU in the same process.

    python -m benchmarks.features --json features.json

Both sides are EfficientNet-Lite0 with the same weights, from float32 images to the map of 152 features at stride 8.
First it checks that their maps agree. Then they take turns. PyTorch runs eager in channels_last. The table shows
medians over the rounds. The ratio is the median of the rounds' ratios of speeds, so a machine that slows down slows
both sides. Compile time, cold and from the persistent cache, and peak memory are medians over fresh processes of each
side alone.
"""

import functools
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import side
from benchmarks.speed import Runner, images_per_second
from jaxunreg.errors import ArgumentError, argument
from jaxunreg.features import EfficientNetLite0

Name = Literal["jaxunreg", "eager"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and where to write it.

    Attributes:
      sizes: height and width of the images, in pixels.
      batches: images in one call.
      peer: whether PyTorch takes turns. If not, it need not be installed.
      rounds: how often the sides take turns.
      seconds: how long each side runs in a round.
      processes: how often compile time and peak memory are measured, each time in separate processes; 0 for never.
      name: measure compile time and peak memory of this side alone, in this process, with the first size and batch.
      json: where to write the list of results.
    """

    sizes: tuple[int, ...] = (256, 450)
    batches: tuple[int, ...] = (1, 16)
    peer: bool = True
    rounds: int = 7
    seconds: float = 2.0
    processes: int = 3
    name: Name | None = None
    json: Path | None = None

    def __post_init__(self) -> None:
        if self.rounds < 1 or not self.seconds > 0 or self.processes < 0:
            raise ArgumentError(
                ", ".join(argument(name, getattr(self, name)) for name in ("rounds", "seconds", "processes")),
                "at least 1, above zero, and at least 0",
            )


def main(options: Options) -> list[dict[str, Any]]:
    """Measure, print and write."""
    if options.name is not None:
        row = alone(options.name, options.sizes[0], options.batches[0])
        print(json.dumps(row))
        return [row]
    console = Console()
    if not console.is_terminal:
        console.width = 140
    packages = ("torch", "efficientnet-lite-pytorch") if options.peer else ()
    if any(importlib.util.find_spec(name.replace("-", "_")) is None for name in packages):
        raise SystemExit("PyTorch is the peer of this benchmark: pip install -e '.[bench]', or give --no-peer")
    versions = side.versions(with_torch=options.peer) | {name: version(name) for name in packages}
    console.print(", ".join(f"{name} {value}" for name, value in versions.items()))
    results = []
    for size in options.sizes:
        for batch in options.batches:
            with console.status(f"{size}x{size}, batch {batch}"):
                results.append(_measure(size, batch, options) | versions)
            # Written at once, because the whole takes minutes.
            if options.json is not None:
                options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    console.print(_table(results))
    return results


def _measure(size: int, batch: int, options: Options) -> dict[str, Any]:
    names: tuple[Name, ...] = ("jaxunreg", "eager") if options.peer else ("jaxunreg",)
    images = pictures(size, batch)
    networks = {name: network(name, size) for name in names}
    maps = [run(images) for run in networks.values()]
    np.testing.assert_allclose(maps[0], maps[-1], rtol=0, atol=1e-3)  # or the comparison is void
    speeds: dict[Name, list[float]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name, run in networks.items():
            # PyTorch's threads spin for a while after their work. On two cores, they would take time from the other
            # side.
            time.sleep(0.3)
            speeds[name].append(images_per_second(_runner(run, images), options.seconds))
    row: dict[str, Any] = {"size": size, "batch": batch, "rounds": options.rounds, "processes": options.processes}
    row["milliseconds"] = 1e3 / statistics.median(speeds["jaxunreg"])
    if options.peer:
        ratios = [ours / theirs for ours, theirs in zip(speeds["jaxunreg"], speeds["eager"], strict=True)]
        row |= {
            "peer": "eager",
            "peer_milliseconds": 1e3 / statistics.median(speeds["eager"]),
            "ratio": statistics.median(ratios),
            "ratio_low": min(ratios),
            "ratio_high": max(ratios),
        }
    for name in names if options.processes else ():
        runs = [_in_process(name, size, batch) for _ in range(options.processes)]
        prefix = "" if name == "jaxunreg" else "peer_"
        row |= {f"{prefix}{key}": statistics.median(run[key] for run in runs) for key in runs[0]}
    return row


def _runner(run: Any, images: np.ndarray) -> Runner:
    def runner() -> int:
        run(images)
        return len(images)

    return runner


@functools.cache
def pictures(size: int, batch: int) -> np.ndarray:
    """Make images `[batch, size, size, 3]` in [0, 1], smooth with some noise, like photographs."""
    rng = np.random.default_rng(0)
    light = np.linspace(0.2, 0.8, size)[None, :, None, None] * rng.uniform(0.5, 1.0, (batch, 1, size, 3))
    return (light + rng.uniform(0.0, 0.2, (batch, size, size, 3))).astype(np.float32)


def network(name: Name, size: int) -> Any:
    """Return one side, a function from NHWC images to NHWC maps, both NumPy arrays."""
    if name == "eager":
        from benchmarks.lite_peer import TorchNetwork

        return TorchNetwork(size, size)
    own = EfficientNetLite0.pretrained()
    program = jax.jit(lambda weights, images: weights(images))
    return lambda images: np.asarray(program(own, images))


def alone(name: Name, size: int, batch: int) -> dict[str, float]:
    """Return compile time (how much longer the first call takes) and peak memory of one side in this process."""
    run, images = network(name, size), pictures(size, batch)

    def seconds() -> float:
        began = time.perf_counter()
        run(images)
        return time.perf_counter() - began

    first = seconds()
    later = statistics.median(seconds() for _ in range(3))
    return {"compile_seconds": max(0.0, first - later), "peak_memory_mb": side.peak_memory_mb()}


def _in_process(name: Name, size: int, batch: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as cache:
        environment = {
            **os.environ,
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        arguments = ("--name", name, "--sizes", str(size), "--batches", str(batch))

        def run() -> dict[str, float]:
            command = [sys.executable, "-m", "benchmarks.features", *arguments]
            output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            return json.loads(output.splitlines()[-1])

        cold = run()
        return {**cold, "compile_seconds_warm": run()["compile_seconds"]} if name == "jaxunreg" else cold


def _table(results: list[dict[str, Any]]) -> Table:
    table = Table(title="EfficientNet-Lite0 up to stride 16, float32")
    for column in ("size", "batch", "ratio to PyTorch", "ms an image", "PyTorch", "compile s", "MB", "PyTorch MB"):
        table.add_column(column, justify="right")
    for row in results:
        table.add_row(
            f"{row['size']}x{row['size']}",
            str(row["batch"]),
            f"{row['ratio']:.2f} ({row['ratio_low']:.2f}-{row['ratio_high']:.2f})" if "ratio" in row else "",
            f"{row['milliseconds']:.1f}",
            _number(row.get("peer_milliseconds"), 1),
            " / ".join(_number(row.get(name), 1) for name in ("compile_seconds", "compile_seconds_warm")),
            _number(row.get("peak_memory_mb"), 0),
            _number(row.get("peer_peak_memory_mb"), 0),
        )
    return table


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
