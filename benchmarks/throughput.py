"""Images a second of training and scoring, against PyTorch on the same device in the same process.

    python -m benchmarks.throughput --json throughput.json --figure throughput.png

First it checks that both sides compute the same: the peer gets our weights, and D, A and M must agree. Then they take
turns, and a matrix product in the same process shows the speed of the machine. The table shows medians over the rounds.
The ratio is the median of the rounds' ratios, so a machine that slows down slows both sides. Compile time and peak
memory are medians over fresh processes of each side alone (`benchmarks.side`).
"""

import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks import side
from benchmarks.float32 import Float32, multiplied_as
from benchmarks.side import Dtype, Network, Phase
from benchmarks.speed import Runner, check_turns, ratios, take_turns
from benchmarks.torch_device import check_peer

Peer = Literal["eager", "compile"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and where to write it.

    Attributes:
      networks: the paper's two networks.
      phases: training, scoring from the host's images to the host's scores, and scoring on the device, in batches that
        fill an accelerator.
      dtypes: precision of the matrix products, on both sides.
      float32: how an accelerator multiplies float32, on both sides.
      peers: eager PyTorch, and PyTorch under `torch.compile`. Without any, PyTorch need not be installed, float32 is
        compared with nothing, and bfloat16 with our float32.
      rounds: how often the sides take turns.
      seconds: how long each side runs in a round.
      matrix: rows and columns of the matrices whose product shows the speed of the machine; by default 2048 on a CPU,
        and on an accelerator 8192, so that its start does not count.
      processes: how often compile time and peak memory are measured, each time in separate processes; 0 for never.
      json: where to write the list of results.
      figure: file for a figure of the ratios.
    """

    networks: tuple[Network, ...] = ("toy", "large")
    phases: tuple[Phase, ...] = ("train", "score")
    dtypes: tuple[Dtype, ...] = ("float32", "bfloat16")
    float32: Float32 = "tensorfloat32"
    peers: tuple[Peer, ...] = ("eager", "compile")
    rounds: int = 7
    seconds: float = 2.0
    matrix: int | None = None
    processes: int = 3
    json: Path | None = None
    figure: Path | None = None

    def __post_init__(self) -> None:
        check_turns(self.rounds, self.seconds, self.processes)


def main(options: Options) -> list[dict[str, Any]]:
    """Measure, print and write."""
    console = Console()
    if not console.is_terminal:
        console.width = 140
    if options.peers:
        check_peer(leave_out="give no --peers")
    versions = side.versions(with_torch=bool(options.peers))
    console.print(", ".join(f"{name} {value}" for name, value in versions.items()))
    results = []
    for network in options.networks:
        for phase in options.phases:
            with console.status(f"{network}, {phase}"), multiplied_as(options.float32):
                results += _measure(network, phase, options)
            console.print(_table(results, network, phase))
            # Written at once, because the whole takes minutes.
            if options.json is not None:
                options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if options.figure is not None:
        _draw(results, options.figure)
    return results


def _measure(network: Network, phase: Phase, options: Options) -> list[dict[str, Any]]:
    runners: dict[tuple[Dtype, str], Runner] = {}
    for dtype in options.dtypes:
        runners[dtype, "jaxunreg"] = side.ours(network, phase, dtype)
        for peer in options.peers:
            runners[dtype, peer] = side.theirs(network, phase, dtype, compiled=peer == "compile")
    if options.peers:
        side.check_agreement(network)
    first_calls = {key: _seconds(runner) for key, runner in runners.items()}
    peaks: dict[Dtype, list[float]] = {dtype: [] for dtype in options.dtypes}
    pause = PAUSE if options.peers else 0.0

    def measure_peaks() -> None:
        for dtype in options.dtypes:
            peaks[dtype].append(matmul_gflops(dtype, options.matrix, pause=pause))

    speeds = take_turns(runners, options.rounds, options.seconds, before=measure_peaks, pause=pause)
    processes = {
        (dtype, name): _medians([side.in_process(network, phase, dtype, name) for _ in range(options.processes)])
        for dtype, name in runners
        if options.processes
    }
    flops = side.flops(network, phase)
    results = []
    for dtype, name, other in _comparisons(options):
        ours = speeds[dtype, "jaxunreg"]
        speed = statistics.median(ours)
        result: dict[str, Any] = {
            "network": network,
            "phase": phase,
            "dtype": dtype,
            "peer": name,
            "images_per_second": speed,
            "gflops": speed * flops / 1e9,
            "matmul_gflops": statistics.median(peaks[dtype]),
            "share_of_matmul": speed * flops / 1e9 / statistics.median(peaks[dtype]),
            "batch_size": side.BATCH_SIZE[network],
            "rounds": options.rounds,
            "processes": options.processes,
            "float32": options.float32 if jax.default_backend() != "cpu" else "float32",
            "first_call_seconds": first_calls[dtype, "jaxunreg"],
        }
        if other is not None:
            result |= ratios(ours, speeds[other])
            result |= {
                "peer_images_per_second": statistics.median(speeds[other]),
                "peer_first_call_seconds": first_calls[other],
            }
        if processes:
            own, others = processes[dtype, "jaxunreg"], processes.get((dtype, name), {})
            result |= {
                "compile_seconds": own["compile_seconds"],
                "compile_seconds_warm": own["compile_seconds_warm"],
                "peak_memory_mb": own["peak_memory_mb"],
                "peer_compile_seconds": others.get("compile_seconds"),
                "peer_peak_memory_mb": others.get("peak_memory_mb"),
            }
        results.append(result | side.versions(with_torch=bool(options.peers)))
    return results


def _medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _comparisons(options: Options) -> list[tuple[Dtype, str, tuple[Dtype, str] | None]]:
    """Return each dtype with what our side is compared with: its name, and the side, or None for nothing."""
    found: list[tuple[Dtype, str, tuple[Dtype, str] | None]] = []
    for dtype in options.dtypes:
        found += [(dtype, peer, (dtype, peer)) for peer in options.peers]
        if dtype == "bfloat16" and "float32" in options.dtypes:
            found.append((dtype, "jaxunreg float32", ("float32", "jaxunreg")))
        elif not options.peers:
            found.append((dtype, "none", None))
    return found


PAUSE = 0.3
"""Seconds before each turn, until PyTorch's threads are quiet."""


def _seconds(runner: Runner) -> float:
    began = time.perf_counter()
    runner()
    return time.perf_counter() - began


@jax.jit
def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def matmul_gflops(dtype: Dtype, n: int | None = None, *, pause: float = PAUSE) -> float:
    """Return the GFLOP/s of one large matrix product, the best of five."""
    n = n or (2048 if jax.default_backend() == "cpu" else 8192)
    # Of random numbers: with equal ones, an accelerator needs less power and runs faster.
    a = jax.random.normal(jax.random.key(0), (n, n), dtype)
    _matmul(a, a).block_until_ready()
    time.sleep(pause)

    def product() -> int:
        _matmul(a, a).block_until_ready()
        return 1

    return 2 * n**3 / min(_seconds(product) for _ in range(5)) / 1e9


def _table(results: list[dict[str, Any]], network: str, phase: str) -> Table:
    table = Table(title=f"{network} network, {phase}")
    columns = ("dtype", "peer", "ratio", "images/s", "peer", "GFLOP/s", "of matmul", "compile s", "MB", "peer MB")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < 2 else "right")
    for row in results:
        if (row["network"], row["phase"]) == (network, phase):
            table.add_row(
                row["dtype"],
                row["peer"],
                f"{row['ratio']:.2f} ({row['ratio_low']:.2f}-{row['ratio_high']:.2f})" if "ratio" in row else "",
                f"{row['images_per_second']:.0f}",
                _number(row.get("peer_images_per_second"), 0),
                f"{row['gflops']:.0f}",
                f"{row['share_of_matmul']:.0%}",
                " / ".join(_number(row.get(name), 1) for name in ("compile_seconds", "compile_seconds_warm")),
                _number(row.get("peak_memory_mb"), 0),
                _number(row.get("peer_peak_memory_mb"), 0),
            )
    return table


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _draw(results: list[dict[str, Any]], path: Path) -> None:
    import matplotlib.pyplot as plt

    rows = [row for row in results if row["peer"] in ("eager", "compile")]
    figure, axes = plt.subplots(figsize=(6.4, 0.36 * len(rows) + 1.0), layout="constrained")
    ratios = np.array([row["ratio"] for row in rows])
    errors = np.array([[row["ratio"] - row["ratio_low"], row["ratio_high"] - row["ratio"]] for row in rows]).T
    places = np.arange(len(rows))[::-1]
    colors = ["#4477aa" if row["dtype"] == "float32" else "#ccbb44" for row in rows]
    axes.barh(places, ratios, xerr=errors, color=colors, height=0.7, error_kw={"lw": 0.8})
    labels = [f"{row['network']}, {row['phase']}, {row['dtype']}, {row['peer']}" for row in rows]
    axes.set_yticks(places, labels, fontsize=8)
    axes.axvline(1.0, color="black", lw=0.8)
    axes.set_xlabel("speed as a multiple of PyTorch's (median and range of the rounds)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
