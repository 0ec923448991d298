"""The time of scoring on a CPU, layer by layer, beside the speed of a matrix product in the same run.

    python -m benchmarks.profile --network large --dtype bfloat16

The milliseconds are for a batch, summed over operations. Operations of neighbouring layers can run at the same time, so
they may add up to more than the time of a batch. GFLOP/s count the operations of a direct convolution.
"""

import re
import statistics
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import jaxunreg as ju
from benchmarks import side
from benchmarks.throughput import matmul_gflops
from jaxunreg.models import apply
from jaxunreg.scoring.batched import apply_in_batches, images_a_batch
from jaxunreg.scoring.scorer import fold_scorer

_BATCHES = 16
# Operations that the compiler adds have no name in the model. They count as the rest.
_OPERATION = re.compile(r'^\s*(?:ROOT )?%?([\w.\-]+) = (?:.*op_name="([^"]*)")?', re.MULTILINE)
_LAYER = re.compile(r"(encoder|decoder)/(Convolution|Dense)_(\d+)/")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to profile.

    Attributes:
      network: the paper's network for 32x32 (toy) or 96x96 (large).
      dtype: dtype of the matrix products.
      calls: number of traced calls of 16 batches each. Equally many are timed before.
    """

    network: side.Network = "large"
    dtype: side.Dtype = "float32"
    calls: int = 6


def main(options: Options) -> None:
    """Measure and print."""
    model = side.model(options.network, options.dtype)
    scorer = fold_scorer(ju.make_scorer(model, side.trained(options.network)))
    batch = images_a_batch(scorer, None)
    shape = (_BATCHES, batch, *model.config.image_shape)
    images = jnp.asarray(np.resize(side.images(options.network), shape))
    traced: dict[str, str | bool] = {"xla_cpu_enable_xprof_traceme": True}
    program = apply_in_batches.lower(apply.terms, scorer, images, np.int32(_BATCHES)).compile(compiler_options=traced)

    def call() -> float:
        began = time.perf_counter()
        jax.block_until_ready(program(scorer, images, np.int32(_BATCHES)))
        return time.perf_counter() - began

    call()
    peak = matmul_gflops(options.dtype)
    seconds = statistics.median(call() for _ in range(options.calls)) / _BATCHES
    with tempfile.TemporaryDirectory() as directory:
        with jax.profiler.trace(directory):
            for _ in range(options.calls):
                call()
        times = _times(Path(directory), dict(_OPERATION.findall(program.as_text() or "")))
    milliseconds = {key: value / (options.calls * _BATCHES) for key, value in times.items()}

    flops = side.layer_flops(options.network)
    table = Table(title=f"{options.network}, {options.dtype}: {1e3 * seconds:.1f} ms a batch of {batch}")
    for column in ("layer", "products, ms", "all else, ms", "GFLOP/s", "of matmul"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for layer in [*flops, "the rest"]:
        products, rest = (milliseconds.get((layer, product), 0.0) for product in (True, False))
        speed = flops.get(layer, 0.0) * batch / 1e6 / (products + rest) if products + rest else 0.0
        cells = (f"{speed:.0f}", f"{speed / peak:.0%}") if layer in flops else ("", "")
        table.add_row(layer, f"{products:.2f}", f"{rest:.2f}", *cells)
    sums = [sum(value for key, value in milliseconds.items() if key[1] is product) for product in (True, False)]
    table.add_section()
    table.add_row("sum", *(f"{value:.2f}" for value in sums))
    console = Console()
    console.print(f"jax {jax.__version__} on {side.machine()}; a matrix product reaches {peak:.0f} GFLOP/s")
    console.print(table)


def _times(directory: Path, operations: dict[str, str]) -> Counter[tuple[str, bool]]:
    """Return milliseconds by layer, for matrix products and for everything else."""
    (path,) = directory.glob("**/*.xplane.pb")
    times: Counter[tuple[str, bool]] = Counter()
    for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
        for line in plane.lines:
            for event in line.events:
                # The event of a loop contains those of its body.
                if event.name in operations and not event.name.startswith("while"):
                    source = operations[event.name]
                    found = _LAYER.search(source)
                    layer = f"{found[1]} {found[2]}_{found[3]}" if found else "the rest"
                    times[layer, "dot_general" in source] += event.duration_ns / 1e6
    return times


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
