"""Everything that depends on the accelerator, measured in one run and written as one file.

    python -m benchmarks.accelerator --json accelerator.json

It composes the other benchmarks: both networks and the feature network in float32 and bfloat16 beside eager PyTorch and
`torch.compile`, with their share of a matrix product in the same run; the sharded scorer by both backends; sweeps of 1
to 128 members in one program; training on several devices beside one; and exported StableHLO. Where PyTorch is missing
or runs on the CPU alone, our side is measured alone, and the first lines say so.

Each section runs by itself. If one fails, its error is in the file, the others run, and the exit status is 1. The file
is written after each section. The same command on the same device keeps the sections that the file has, and runs the
others, so a time limit loses only the section that it interrupts. `--size small` runs to its end on a CPU in some
minutes and shows that the script works; its figures mean nothing.
"""

import gc
import itertools
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jax
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks import devices, exported, features, side, throughput, torch_device, vmapped_sweep
from benchmarks.float32 import Float32, multiplied_as
from benchmarks.throughput import Peer
from jaxunreg.files import replacing
from jaxunreg.nn.lowering import Lowering
from jaxunreg.provenance import device
from jaxunreg.scoring.on_devices import Backend

Rows: TypeAlias = list[dict[str, Any]]


class SkippedError(Exception):
    """A section cannot run here, for the reason in the message. That is no failure."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and where to write it.

    Attributes:
      size: `full` for an accelerator, `small` to try the script.
      float32: how the accelerator multiplies float32, in JAX and in PyTorch. Checks of equality keep all bits.
      only: run only the sections whose names begin with one of these; by default all.
      devices: the most devices to use; by default all of this process.
      json: where to write the results; a file of the same device and settings is completed.
    """

    size: Literal["full", "small"] = "full"
    float32: Float32 = "tensorfloat32"
    only: tuple[str, ...] = ()
    devices: int | None = None
    json: Path | None = None


def main(options: Options) -> dict[str, Any]:
    """Measure, print and write. An error of a section is in the result."""
    # Both sides share the memory of the chip. JAX reads this when it first looks for devices.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    console = Console()
    if not console.is_terminal:
        console.width = 140
    result: dict[str, Any] = _about(options)
    for name in ("device", "float32", "peer", "preallocate"):
        console.print(f"{name}: {result[name]}", markup=False)
    sections = _earlier(options.json, result)
    if sections:
        console.print(f"kept from {options.json}: {'; '.join(sections)}", markup=False)
    result |= {"sections": sections, "targets": against_targets(sections)}
    chosen = {
        name: run
        for name, run in _sections(options).items()
        if name.startswith(options.only or "") and name not in sections
    }
    for number, (name, run) in enumerate(chosen.items(), 1):
        console.print(f"\n[bold]{number} of {len(chosen)}: {escape(name)}[/bold]")
        sections[name] = found = _outcome(run, options, console)
        result["targets"] = against_targets(sections)
        said = found.get("error") or found.get("skipped") or f"rows: {len(found['rows'])}"
        console.print(f"{said}; {found['seconds']:.1f} s", markup=False)
        if options.json is not None:
            with replacing(options.json) as temporary:
                temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    console.print(_table(result))
    if failed := failures(result):
        console.print(f"failed: {', '.join(failed)}", markup=False)
    return result


def failures(result: Mapping[str, Any]) -> list[str]:
    """Return the names of the sections that failed."""
    return [name for name, found in result["sections"].items() if "error" in found]


def _about(options: Options) -> dict[str, Any]:
    """Return what all figures depend on."""
    on_cpu = jax.default_backend() == "cpu"
    reason = torch_device.why_not()
    return {
        "device": device(),
        "platform": jax.default_backend(),
        "machine": side.machine(),
        "jax": version("jax"),
        "torch": None if reason else version("torch"),
        "peer": f"none, our side alone: {reason}" if reason else f"PyTorch on {torch_device.torch_device()}",
        "float32": "float32 on a CPU" if on_cpu else f"{options.float32} in JAX and in PyTorch",
        "preallocate": os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE"),
        "size": options.size,
    }


def _earlier(path: Path | None, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sections that a file has measured on the same device with the same settings."""
    if path is None or not path.exists():
        return {}
    before = json.loads(path.read_text(encoding="utf-8"))
    alike = all(before.get(name) == value for name, value in about.items())
    return {name: found for name, found in before["sections"].items() if "rows" in found} if alike else {}


def against_targets(sections: Mapping[str, Any]) -> Rows:
    """Return what an accelerator should reach, and what was found: None where it was not measured."""
    rows = [row for found in sections.values() for row in found.get("rows", ())]
    scoring = [row for row in rows if row.get("phase") == "score_on_device" and "ratio" in row]
    slowest = {
        peer: min((row["ratio"] for row in scoring if row["peer"] == peer), default=None)
        for peer in ("eager", "compile")
    }
    sweeps = [row["ratio"] for row in rows if (row.get("network"), row.get("members")) == ("toy", 128)]
    return [
        {"what": "scoring on the device beside eager PyTorch, the slowest", "target": 1.5, "found": slowest["eager"]},
        {"what": "scoring on the device beside torch.compile, the slowest", "target": 1.0, "found": slowest["compile"]},
        {"what": "128 members beside one after another, toy", "target": 8.0, "found": max(sweeps, default=None)},
    ]


def _outcome(run: Callable[[], Rows], options: Options, console: Console) -> dict[str, Any]:
    """Run a section, and return its rows, why it was skipped, or its error."""
    began = time.perf_counter()
    found: dict[str, Any] = {}
    try:
        with multiplied_as(options.float32):
            found["rows"] = run()
    except SkippedError as reason:
        found["skipped"] = f"skipped: {reason}"
    except (Exception, SystemExit) as error:
        found["error"] = f"{type(error).__name__}: {error}"
        console.print_exception()
    found["seconds"] = time.perf_counter() - began
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    found["device_peak_mb_so_far"] = None if peak is None else peak / 2**20
    if jax.default_backend() != "cpu":
        # For the next section, and for the other side.
        gc.collect()
        jax.clear_caches()
        torch_device.release()
    return found


def _sections(options: Options) -> dict[str, Callable[[], Rows]]:
    """Return the sections by their names. Those of PyTorch come first, since JAX keeps the memory that it once had."""
    small = options.size == "small"
    rounds: dict[str, Any] = {"rounds": 1, "seconds": 1e-3} if small else {"rounds": 5, "seconds": 1.0}
    dtypes: tuple[side.Dtype, ...] = ("float32",) if small else ("float32", "bfloat16")
    wanted: tuple[Peer, ...] = ("eager",) if small else ("eager", "compile")
    networks: tuple[side.Network, ...] = ("toy",) if small else ("toy", "large")
    phases: tuple[side.Phase, ...] = ("train", "score", "score_on_device")
    found: dict[str, Callable[[], Rows]] = {}
    for network, phase in itertools.product(networks, phases):
        measured = throughput.Options(
            networks=(network,),
            phases=(phase,),
            dtypes=dtypes,
            float32=options.float32,
            peers=() if torch_device.why_not() else wanted,
            matrix=256 if small else None,
            processes=0,
            **rounds,
        )
        found[f"throughput, {network}, {phase}"] = partial(throughput.main, measured)
    for size in (32,) if small else (256, 450):
        seen = features.Options(
            sizes=(size,),
            batches=(2,) if small else (1, 64),
            dtypes=dtypes,
            float32=options.float32,
            peers=() if torch_device.why_not("efficientnet_lite_pytorch") else wanted,
            processes=0,
            **rounds,
        )
        found[f"feature network, {size}"] = partial(features.main, seen)
    counts = _counts(side.BATCH_SIZE["toy"], options.devices)
    alike = devices.Options(devices=counts[-1:] if small else counts, **rounds)
    found["sharded scorer, shard_map"] = partial(_sharded, alike, "shard_map")
    found["sharded scorer, pmap"] = partial(_sharded, alike, "pmap")
    found["training on several devices"] = partial(_training, alike, measured=not small)
    # Of many members, the native convolution has a group for each, and matrix products are batched.
    lowerings: tuple[Lowering, ...] = ("auto",) if jax.default_backend() == "cpu" else ("auto", "matmul")
    for lowering, members in itertools.product(lowerings, (2,) if small else (1, 8, 32, 128)):
        sweep = vmapped_sweep.Options(
            networks=("small",) if small else ("toy",),
            members=(members,),
            devices=(1,),
            vectorize=(True,),
            lowering=lowering,
            tolerance=1e-3 if jax.default_backend() == "cpu" else 1e-2,  # that of TensorFloat-32
            **rounds,
        )
        found[f"sweep, {lowering}, {members} in one program"] = partial(vmapped_sweep.main, sweep)
    found["exported scorer"] = partial(_exported_scorers, networks)
    found["exported detector"] = partial(_exported_detectors, small)
    return found


def _counts(batch_size: int, most: int | None) -> tuple[int, ...]:
    """Return the powers of two, up to the number of devices, that divide a batch."""
    count = min(len(jax.local_devices()), most or len(jax.local_devices()))
    return tuple(2**k for k in range(count.bit_length()) if batch_size % 2**k == 0)


def _sharded(options: devices.Options, backend: Backend) -> Rows:
    return devices.main(replace(options, phases=("score",), backend=backend))


def _training(options: devices.Options, *, measured: bool) -> Rows:
    """Check that training on several devices is that on one, and measure it."""
    count = options.devices[-1]
    if count == 1:
        raise SkippedError("one device; several are needed to compare them with one")
    with multiplied_as("float32"):
        alike = devices.training_alike(options.network, count)
    if alike["nelbo_difference"] > 1e-3:
        raise AssertionError(f"{count} devices train another model than one: {alike}")
    return [alike, *(devices.main(replace(options, phases=("train",))) if measured else ())]


def _exported_scorers(networks: tuple[side.Network, ...]) -> Rows:
    with multiplied_as("float32"):
        return [exported.scorer(network) for network in networks]


def _exported_detectors(small: bool) -> Rows:
    with multiplied_as("float32"):
        made = [exported.pixel_detector("toy"), *([] if small else [exported.feature_detector()])]
        return [exported.detector(*one) for one in made]


def _table(result: Mapping[str, Any]) -> Table:
    table = Table(title=f"what an accelerator should reach, on {result['device']}")
    for column in ("what", "at least", "found"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in result["targets"]:
        found = "not measured" if row["found"] is None else f"{row['found']:.2f}"
        table.add_row(row["what"], f"{row['target']:.1f}", found)
    return table


if __name__ == "__main__":
    raise SystemExit(1 if failures(main(tyro.cli(Options, description=__doc__))) else 0)
