"""The time for one part, from the bytes of its file to its verdict, without the start-up.

    python -m benchmarks.one_part --json one_part.json

fits a detector of features with the default settings to generated parts of each size. Then a separate process, on one
core or on two, decodes and scores parts one after another, each after the verdict on the one before. The start-up lasts
from the start of that process to its first verdict, with programs on disk that an earlier process compiled.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.starts import environment_of_start
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.generated_parts import write_parts
from jaxunreg.inspection import DetectorConfig, fit_detector
from jaxunreg.provenance import device


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and where to write it.

    Attributes:
      sizes: heights and widths of the parts, in pixels.
      resolutions: resolution of the network's input for each size; 0 is the default.
      threads: number of cores of a process, for each column.
      parts: number of parts to score.
      train: number of normal parts that the detectors learn from.
      work: folder for the parts and the detectors, which a later run uses again; by default they are removed.
      json: where to write the results.
    """

    sizes: tuple[int, ...] = (256, 450, 1024, 1024)
    resolutions: tuple[int, ...] = (0, 0, 0, 1024)
    threads: tuple[int, ...] = (1, 2)
    parts: int = 60
    train: int = 80
    work: Path | None = None
    json: Path | None = None


# Cores are chosen before JAX is imported, because JAX makes a thread for each.
_CHILD = """
import io, json, os, sys, time
model, folder, cores, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
from pathlib import Path
from jaxunreg.compilation import keep_compiled
keep_compiled()
from jaxunreg.datasets.folders.from_bytes import image_from_bytes
from jaxunreg.inspection import AnomalyDetector
from jaxunreg.serving import Timings
detector, timings = AnomalyDetector.load(model), Timings()
files = sorted(Path(folder).glob("*.png"))
bodies = [file.read_bytes() for file in files]
for k in range(count + 1):
    began = time.perf_counter()
    image = image_from_bytes("part", bodies[k % len(bodies)], channels=detector.channels)
    verdict = next(detector.scores([image]))
    assert verdict.score == verdict.score
    if k:
        timings.add(time.perf_counter() - began)
    else:
        ready = time.time()
print(json.dumps({"ready": ready, **timings.quantiles()._asdict()}))
"""


def main(options: Options) -> list[dict[str, Any]]:
    """Measure, print and write."""
    results = []
    with tempfile.TemporaryDirectory() as name:
        for size, resolution in zip(options.sizes, options.resolutions, strict=True):
            work = (options.work or Path(name)) / f"{size}-{resolution}"
            if not (work / "model").is_dir():
                data = write_parts(work / "parts", train=options.train, test=10, image_size=(size, size))
                folder = load_folder(data, progress=False)
                config = DetectorConfig(resolution=resolution or None)
                fit_detector(folder.train, config, key=jax.random.key(0), directory=work / "model")
            for cores in options.threads:
                row = measure(work / "model", work / "parts" / "test" / "good", cores, options)
                results.append({"size": size, "resolution": resolution, **row, "parts": options.parts})
    show(results, options)
    if options.json is not None:
        content = {"device": device(), "rows": results}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return results


def measure(model: Path, folder: Path, cores: int, options: Options) -> dict[str, Any]:
    """Return seconds of start-up, and milliseconds a part, of a process with so many cores.

    Args:
      model: folder of the detector.
      folder: folder of the parts, as PNG.
      cores: number of cores.
      options: see `Options`.

    Raises:
      RuntimeError: the process ends with an error.
    """
    environment = environment_of_start(model.parent / "cache")
    command = [sys.executable, "-c", _CHILD, str(model), str(folder), str(cores)]
    # The first process compiles, and leaves the programs on disk.
    for count in ("1", str(options.parts)):
        began = time.time()
        done = subprocess.run([*command, count], env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"the process on {cores} cores ended with {done.returncode}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    return {
        "threads": cores,
        "start_up_seconds": found["ready"] - began,
        "milliseconds": found["p50"],
        "milliseconds_95": found["p95"],
    }


def show(results: list[dict[str, Any]], options: Options) -> None:
    """Print a row for each size, with columns for each number of threads."""
    table = Table(title=f"one part, from the bytes of a PNG to its verdict, {device()}")
    table.add_column("part")
    for cores in options.threads:
        for column in ("ms (p50)", "ms (p95)", "start-up s"):
            table.add_column(f"{cores} thread{'s' if cores > 1 else ''}: {column}", justify="right")
    for size, resolution in zip(options.sizes, options.resolutions, strict=True):
        rows = [row for row in results if (row["size"], row["resolution"]) == (size, resolution)]
        cells = [
            text
            for row in rows
            for text in (
                f"{row['milliseconds']:.0f}",
                f"{row['milliseconds_95']:.0f}",
                f"{row['start_up_seconds']:.1f}",
            )
        ]
        table.add_row(f"{size}x{size}{f', --resolution {resolution}' if resolution else ''}", *cells)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
