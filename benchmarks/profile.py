"""The time of scoring or training on a CPU, layer by layer, beside the speed of a matrix product in the same run.

    python -m benchmarks.profile --network large --phase train --json profile.json

The milliseconds are for a batch, summed over operations. An operation counts with the shortest of its times, since
other work on the machine only makes it longer. Operations of neighbouring layers can run at the same time, so they may
add up to more than the time of a batch. GFLOP/s count the operations of a direct convolution. Winograd's filtering
needs fewer: the last line says how long its products would take at the speed of the large matrix product.

`taskset -c 0 python -m benchmarks.profile` measures one core, where nothing runs at the same time. The program for
scoring is the one that `score_images` gives each core for many images.
"""

import json
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import jaxunreg as ju
from benchmarks import side
from jaxunreg.compilation import ONE_CORE, TRAINING
from jaxunreg.models import apply
from jaxunreg.processor import cores
from jaxunreg.scoring.batched import apply_on_one_core, images_a_batch
from jaxunreg.scoring.scorer import Scorer, fold_scorer
from jaxunreg.training.state import init_state
from jaxunreg.training.step import train_steps

_BATCHES = side.STEPS
# Operations that the compiler adds have no name in the model. They count as the rest.
_OPERATION = re.compile(r'^\s*(?:ROOT )?%?([\w.\-]+) = (?:.*op_name="([^"]*)")?', re.MULTILINE)
# The name of a loop over parts of the images can stand between the network's and a layer's.
_LAYER = re.compile(r"(encoder|decoder)/(?:while/.*/)?(Convolution|Dense)_(\d+)/")
_TRACED: dict[str, Any] = {"xla_cpu_enable_xprof_traceme": True}

Program = tuple[Callable[[], Any], str, float]
"""A call over some batches, the compiled program's text, and the operations of its matrix products for a batch."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to profile.

    Attributes:
      network: the paper's network for 32x32 (toy) or 96x96 (large).
      phase: scoring, or training with the batch's statistics.
      dtype: dtype of the matrix products.
      calls: number of traced calls of 16 batches each. Equally many are timed before.
      json: where to write the result.
    """

    network: side.Network = "large"
    phase: Literal["train", "score"] = "score"
    dtype: side.Dtype = "float32"
    calls: int = 6
    json: Path | None = None


def main(options: Options) -> dict[str, Any]:
    """Measure, print and write."""
    make = _scoring if options.phase == "score" else _training
    (call, text, needed), batch = make(options.network, options.dtype)

    def seconds() -> float:
        began = time.perf_counter()
        jax.block_until_ready(call())
        return time.perf_counter() - began

    seconds()
    peak = _matmul_gflops(options.dtype)
    a_batch = min(seconds() for _ in range(options.calls)) / _BATCHES
    with tempfile.TemporaryDirectory() as directory:
        with jax.profiler.trace(directory):
            for _ in range(options.calls):
                seconds()
        times = _times(Path(directory), dict(_OPERATION.findall(text)), options.calls * _BATCHES)
    flops = side.layer_flops(options.network)
    layers: list[dict[str, Any]] = []
    for layer in [*flops, "the rest"]:
        products, rest = (times.get((layer, product), 0.0) for product in (True, False))
        passes = 1 if options.phase == "score" else 2 if layer == "encoder Convolution_0" else 3
        direct = passes * flops.get(layer, 0.0) * batch / 1e6
        layers.append({"layer": layer, "products_ms": products, "rest_ms": rest, "direct_mflop": direct})
    result = {
        "network": options.network,
        "phase": options.phase,
        "dtype": options.dtype,
        "batch_size": batch,
        "milliseconds": 1e3 * a_batch,
        "products_ms": sum(row["products_ms"] for row in layers),
        "rest_ms": sum(row["rest_ms"] for row in layers),
        "products_at_peak_ms": needed / peak / 1e6,
        "matmul_gflops": peak,
        "layers": layers,
        **side.versions(with_torch=False),
    }
    _print(result)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def _scoring(network: side.Network, dtype: side.Dtype) -> tuple[Program, int]:
    model = side.model(network, dtype)
    scorer = fold_scorer(ju.make_scorer(model, side.trained(network)))
    batch = images_a_batch(scorer, None)
    images = jnp.asarray(np.resize(side.images(network), (_BATCHES, batch, *model.config.image_shape)))
    alone = Scorer(model.for_one_core(), scorer.variables)
    lowered = apply_on_one_core.lower(apply.terms, alone, images, np.int32(_BATCHES))
    options: dict[str, Any] = {**_TRACED, **ONE_CORE}
    program = lowered.compile(compiler_options=options)
    needed = product_flops(
        jax.make_jaxpr(lambda x: apply.terms(model.for_platform("cpu"), scorer.variables, x))(
            images[0].astype(jnp.float32)
        ).jaxpr
    )
    return (lambda: program(alone, images, np.int32(_BATCHES)), program.as_text() or "", needed), batch


def _training(network: side.Network, dtype: side.Dtype) -> tuple[Program, int]:
    model, batch = side.model(network, dtype).for_platform("cpu"), side.BATCH_SIZE[network]
    config = ju.TrainConfig(steps=10**6, batch_size=batch, steps_per_dispatch=_BATCHES)
    images = jnp.asarray(side.images(network))
    indices = np.random.default_rng(1).integers(0, len(images), (_BATCHES, batch), np.int32)
    states = [init_state(model, config, jax.random.key(0))]
    lowered = train_steps.lower(model, config, states[0], images, indices, np.int32(_BATCHES))
    options: dict[str, Any] = {**_TRACED, **TRAINING}
    program = lowered.compile(compiler_options=options)
    step = jax.make_jaxpr(lambda state: train_steps(model, config, state, images, indices, np.int32(_BATCHES)))
    needed = product_flops(step(states[0]).jaxpr)

    def call() -> Any:
        state, metrics = program(states.pop(), images, indices, np.int32(_BATCHES))
        states.append(state)
        return metrics

    return (call, program.as_text() or "", needed), batch


@jax.jit
def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def _matmul_gflops(dtype: side.Dtype, n: int = 1024) -> float:
    """Return the GFLOP/s of a large matrix product by the seconds of the cores, which other work does not use up."""
    a = jnp.ones((n, n), dtype)
    _matmul(a, a).block_until_ready()
    seconds = []
    for _ in range(20):
        began = time.process_time()
        _matmul(a, a).block_until_ready()
        seconds.append(time.process_time() - began)
    return 2 * n**3 / min(seconds) / 1e9 * cores()


def product_flops(jaxpr: Any) -> float:
    """Return the operations of all matrix products in a program, two a multiplication and addition; loops count once.

    >>> import jax, jax.numpy as jnp
    >>> product_flops(jax.make_jaxpr(jnp.dot)(jnp.ones((2, 3)), jnp.ones((3, 5))).jaxpr)
    60.0
    """
    total = 0.0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (summed, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2.0 * float(np.prod([left[axis] for axis in summed])) * equation.outvars[0].aval.size
        total += sum(product_flops(inner) for inner in _inner(equation.params.values()))
    return total


def _inner(values: Any) -> Iterator[Any]:
    """Yield the programs among the parameters of an equation."""
    for value in values:
        if isinstance(value, tuple | list):
            yield from _inner(value)
        elif hasattr(value, "jaxpr") or hasattr(value, "eqns"):
            yield getattr(value, "jaxpr", value)


def _times(directory: Path, operations: dict[str, str], batches: int) -> dict[tuple[str, bool], float]:
    """Return milliseconds a batch by layer, for matrix products and for everything else."""
    (path,) = directory.glob("**/*.xplane.pb")
    events: dict[str, list[float]] = defaultdict(list)
    for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
        for line in plane.lines:
            for event in line.events:
                # The event of a loop contains those of its body.
                if event.name in operations and not event.name.startswith("while"):
                    events[event.name].append(event.duration_ns / 1e6)
    times: dict[tuple[str, bool], float] = defaultdict(float)
    for name, durations in events.items():
        source = operations[name]
        found = _LAYER.search(source)
        layer = f"{found[1]} {found[2]}_{found[3]}" if found else "the rest"
        # The gradients with respect to weights keep the name of their last operation, which is no product.
        product = "dot_general" in source or name.startswith("dot")
        times[layer, product] += min(durations) * len(durations) / batches
    return times


def _print(result: dict[str, Any]) -> None:
    peak = result["matmul_gflops"]
    title = f"{result['network']}, {result['phase']}, {result['dtype']}"
    table = Table(title=f"{title}: {result['milliseconds']:.1f} ms a batch of {result['batch_size']}")
    for column in ("layer", "products, ms", "all else, ms", "GFLOP/s", "of matmul"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for row in result["layers"]:
        products, rest = row["products_ms"], row["rest_ms"]
        speed = row["direct_mflop"] / (products + rest) if products + rest else 0.0
        cells = (f"{speed:.0f}", f"{speed / peak:.0%}") if row["direct_mflop"] else ("", "")
        table.add_row(row["layer"], f"{products:.2f}", f"{rest:.2f}", *cells)
    table.add_section()
    table.add_row("sum", f"{result['products_ms']:.2f}", f"{result['rest_ms']:.2f}")
    table.add_row("at the speed of the large product", f"{result['products_at_peak_ms']:.2f}", "")
    console = Console()
    console.print(f"jax {jax.__version__} on {side.machine()}; a matrix product reaches {peak:.0f} GFLOP/s")
    console.print(table)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
