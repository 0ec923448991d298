"""Milliseconds an image of the feature network, against PyTorch on the same device in the same process.

    python -m benchmarks.features --json features.json

Both sides are EfficientNet-Lite0 with the same weights, from float32 images to the map of 152 features at stride 8.
Images and map stay on the device. First it checks that their maps agree. Then they take turns. PyTorch runs in
channels_last. The table shows medians over the rounds. The ratio is the median of the rounds' ratios of speeds, so a
machine that slows down slows both sides. Compile time, cold and from the persistent cache, and peak memory are medians
over fresh processes of each side alone.
"""

import functools
import json
import statistics
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import side, torch_device
from benchmarks.float32 import Float32, multiplied_as
from benchmarks.fresh_process import measured
from benchmarks.side import Dtype, Name
from benchmarks.speed import Runner, check_turns, ratios, take_turns
from benchmarks.throughput import PAUSE, Peer
from jaxunreg.features import EfficientNetLite0


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and where to write it.

    Attributes:
      sizes: height and width of the images, in pixels.
      batches: images in one call.
      dtypes: precision of the matrix products, on both sides.
      float32: how an accelerator multiplies float32, on both sides.
      peers: eager PyTorch, and PyTorch under `torch.compile`. Without any, it need not be installed.
      rounds: how often the sides take turns.
      seconds: how long each side runs in a round.
      processes: how often compile time and peak memory are measured, each time in separate processes; 0 for never.
      name: measure compile time and peak memory of this side alone, in this process, with the first size, batch and
        dtype.
      json: where to write the list of results.
    """

    sizes: tuple[int, ...] = (256, 450)
    batches: tuple[int, ...] = (1, 16)
    dtypes: tuple[Dtype, ...] = ("float32",)
    float32: Float32 = "tensorfloat32"
    peers: tuple[Peer, ...] = ("eager",)
    rounds: int = 7
    seconds: float = 2.0
    processes: int = 3
    name: Name | None = None
    json: Path | None = None

    def __post_init__(self) -> None:
        check_turns(self.rounds, self.seconds, self.processes)


def main(options: Options) -> list[dict[str, Any]]:
    """Measure, print and write."""
    if options.name is not None:
        row = alone(options.name, options.sizes[0], options.batches[0], options.dtypes[0])
        print(json.dumps(row))
        return [row]
    console = Console()
    if not console.is_terminal:
        console.width = 140
    packages = ("torch", "efficientnet-lite-pytorch") if options.peers else ()
    if options.peers:
        torch_device.check_peer("efficientnet_lite_pytorch", leave_out="give no --peers")
    versions = side.versions(with_torch=bool(options.peers)) | {name: version(name) for name in packages}
    console.print(", ".join(f"{name} {value}" for name, value in versions.items()))
    results = []
    for size in options.sizes:
        for batch in options.batches:
            with console.status(f"{size}x{size}, batch {batch}"), multiplied_as(options.float32):
                results += [row | versions for row in _measure(size, batch, options)]
            # Written at once, because the whole takes minutes.
            if options.json is not None:
                options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    console.print(_table(results))
    return results


def _measure(size: int, batch: int, options: Options) -> list[dict[str, Any]]:
    names: tuple[Name, ...] = ("jaxunreg", *options.peers)
    images = pictures(size, batch)
    with multiplied_as("float32"):
        own, *others = [network(name, size)(images) for name in names]
    for other in others:
        np.testing.assert_allclose(own, other, rtol=0, atol=1e-3)  # or the comparison is void
    runners: dict[tuple[Dtype, Name], Runner] = {
        (dtype, name): runner(name, images, dtype) for dtype in options.dtypes for name in names
    }
    for run in runners.values():
        run()
    speeds = take_turns(runners, options.rounds, options.seconds, pause=PAUSE if options.peers else 0.0)
    milliseconds = {key: 1e3 / statistics.median(found) for key, found in speeds.items()}
    processes = {
        key: {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        for key in (runners if options.processes else ())
        if (runs := [_in_process(*key, size, batch) for _ in range(options.processes)])
    }
    rows = []
    for dtype in options.dtypes:
        ours: tuple[Dtype, Name] = (dtype, "jaxunreg")
        row: dict[str, Any] = {"size": size, "batch": batch, "dtype": dtype, "milliseconds": milliseconds[ours]}
        row |= {"rounds": options.rounds, "processes": options.processes, **processes.get(ours, {})}
        rows += [
            {
                **row,
                "peer": peer,
                "peer_milliseconds": milliseconds[dtype, peer],
                **ratios(speeds[ours], speeds[dtype, peer]),
                **{f"peer_{name}": value for name, value in processes.get((dtype, peer), {}).items()},
            }
            for peer in options.peers
        ] or [row]
    return rows


@functools.cache
def pictures(size: int, batch: int) -> np.ndarray:
    """Make images `[batch, size, size, 3]` in [0, 1], smooth with some noise, like photographs."""
    rng = np.random.default_rng(0)
    light = np.linspace(0.2, 0.8, size)[None, :, None, None] * rng.uniform(0.5, 1.0, (batch, 1, size, 3))
    return (light + rng.uniform(0.0, 0.2, (batch, size, size, 3))).astype(np.float32)


def network(name: Name, size: int, dtype: Dtype = "float32") -> Any:
    """Return one side, a function from NHWC images to NHWC maps, both NumPy arrays."""
    if name != "jaxunreg":
        return _peer(name, size, dtype)
    own = EfficientNetLite0.pretrained(precision=dtype)
    program = jax.jit(lambda weights, images: weights(images))
    return lambda images: np.asarray(program(own, images))


def _peer(name: Name, size: int, dtype: Dtype) -> Any:
    compiled, device = name == "compile", torch_device.torch_device()
    torch_device.prepare(compiled=compiled)

    from benchmarks.lite_peer import TorchNetwork

    return TorchNetwork(size, size, compiled=compiled, bfloat16=dtype == "bfloat16", device=device)


def runner(name: Name, images: np.ndarray, dtype: Dtype) -> Runner:
    """Return one side, which leaves the maps of images on the device, where the images are, and waits for them."""
    if name == "jaxunreg":
        own, resident = EfficientNetLite0.pretrained(precision=dtype), jax.device_put(images)
        program = jax.jit(lambda weights, images: weights(images))

        def ours() -> int:
            program(own, resident).block_until_ready()
            return len(images)

        return ours
    peer = _peer(name, images.shape[1], dtype)
    tensor = peer.to_device(images)

    def theirs() -> int:
        peer.on_device(tensor)
        torch_device.finish()
        return len(images)

    return theirs


def alone(name: Name, size: int, batch: int, dtype: Dtype) -> dict[str, float]:
    """Return compile time (how much longer the first call takes) and peak memory of one side in this process."""
    run, images = network(name, size, dtype), pictures(size, batch)

    def seconds() -> float:
        began = time.perf_counter()
        run(images)
        return time.perf_counter() - began

    first = seconds()
    later = statistics.median(seconds() for _ in range(3))
    return {"compile_seconds": max(0.0, first - later), "peak_memory_mb": side.peak_memory_mb()}


def _in_process(dtype: Dtype, name: Name, size: int, batch: int) -> dict[str, float]:
    arguments = ("--name", name, "--sizes", str(size), "--batches", str(batch), "--dtypes", dtype)
    return measured("benchmarks.features", arguments, cached=name == "jaxunreg")


def _table(results: list[dict[str, Any]]) -> Table:
    table = Table(title="EfficientNet-Lite0 up to stride 16")
    for column in (
        "size",
        "batch",
        "dtype",
        "peer",
        "ratio to PyTorch",
        "ms an image",
        "PyTorch",
        "compile s",
        "MB",
        "PyTorch MB",
    ):
        table.add_column(column, justify="right")
    for row in results:
        table.add_row(
            f"{row['size']}x{row['size']}",
            str(row["batch"]),
            row["dtype"],
            row.get("peer", ""),
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
