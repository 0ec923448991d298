"""How often the commands open, read and decode the images of a folder, and how long they take.

    python -m benchmarks.reads --json reads.json

makes a folder of images with defects and their masks, and runs `jaxunreg fit` (with a tiny training), `score`,
`score --heat-maps` and `evaluate` on it, each in a separate process. `--data FOLDER` takes your own folder. Each
command runs twice. The second run is shown. It finds its programs compiled on disk.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table

HEIGHT, WIDTH = 192, 256


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and where to write it.

    Attributes:
      data: a folder of images with defects, laid out as for `jaxunreg evaluate`; by default one is made.
      images: normal training images in the generated folder. There are a third as many normal test images, and as many
        defects.
      patch: height and width of a patch, a multiple of 8.
      stride: pixels from one patch to the next.
      steps: updates of the training.
      runs: how often each command runs. The last run is shown.
      json: where to write the list of results.
    """

    data: Path | None = None
    images: int = 48
    patch: int = 32
    stride: int = 8
    steps: int = 20
    runs: int = 2
    json: Path | None = None


def main(options: Options) -> None:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = options.data or make_folder(work / "parts", options.images)
        results = measure(data.resolve(), work, options)
    table = Table(
        title=f"reading {data.name}: {results[0]['stored_bytes'] / 1e6:.1f} MB in {results[0]['stored']} files"
    )
    for column in ("command", "files", "opened", "opened a file", "MB read", "decoded", "seconds", "processor seconds"):
        table.add_column(column, justify="left" if column == "command" else "right")
    for row in results:
        table.add_row(
            row["command"],
            str(row["files"]),
            str(row["opened"]),
            f"{row['opened'] / max(1, row['files']):.1f}",
            f"{row['bytes_read'] / 1e6:.1f}",
            str(row["decoded"]),
            f"{row['seconds']:.1f}",
            f"{row['processor_seconds']:.1f}",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def measure(data: Path, work: Path, options: Options) -> list[dict[str, Any]]:
    """Run each command in separate processes.

    Args:
      data: the folder of images.
      work: a folder for the files of the commands.
      options: options of the benchmark.

    Returns:
      For each command its last run, JSON data.
    """
    network = {
        "space": "pixels",
        "patch": options.patch,
        "depth": 3,
        "base-channels": 8,
        "latent-dim": 8,
        "stride": options.stride,
    }
    training = {
        "steps": options.steps,
        "warmup-steps": options.steps // 4,
        "batch-size": 16,
        "false-positive-rate": 0.2,
    }
    fitted = [part for name, value in {**network, **training}.items() for part in (f"--{name}", str(value))]
    stored = [path for path in data.rglob("*") if path.is_file()]
    rows = []
    for run in range(options.runs):
        model, folder = str(work / f"model-{run}"), str(data)
        rows = [
            {"command": name, **_run(data, work, arguments)}
            for name, arguments in (
                ("fit", ["fit", folder, "--output", model, *fitted]),
                ("score", ["score", folder, "--model", model]),
                ("score --heat-maps", ["score", folder, "--model", model, "--heat-maps", str(work / f"maps-{run}")]),
                ("evaluate", ["evaluate", folder, "--model", model, "--output", str(work / f"report-{run}")]),
            )
        ]
    size = {"stored": len(stored), "stored_bytes": sum(path.stat().st_size for path in stored)}
    return [{**row, **size} for row in rows]


def _run(data: Path, work: Path, arguments: list[str]) -> dict[str, Any]:
    # This file's own tree takes precedence over an installed package.
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "JAX_COMPILATION_CACHE_DIR": str(work / "compiled")}
    command = [sys.executable, "-m", "benchmarks.counted", str(data), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"jaxunreg {' '.join(arguments)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def make_folder(folder: Path, images: int) -> Path:
    """Make a tree of gray parts: a lit, grainy surface, and in the defects a scratch that a mask marks.

    Args:
      folder: the folder to make.
      images: number of normal training images. There are a third as many normal test images, and as many defects.

    Returns:
      The folder.
    """
    rng = np.random.default_rng(0)

    def surface() -> np.ndarray:
        light = np.linspace(80, 80 + rng.uniform(20, 40), WIDTH)
        return light + rng.normal(0, 4, (HEIGHT, WIDTH))

    def write(pixels: np.ndarray, *parts: str) -> None:
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)

    for k in range(images):
        write(surface(), "train", "good", f"{k:03}.png")
    for k in range(images // 3):
        write(surface(), "test", "good", f"{k:03}.png")
        top, left = rng.integers(0, HEIGHT - 8), rng.integers(0, WIDTH - 60)
        mask = np.zeros((HEIGHT, WIDTH))
        mask[top : top + 8, left : left + 60] = 255
        write(surface() + mask / 3, "test", "scratch", f"{k:03}.png")
        write(mask, "ground_truth", "scratch", f"{k:03}_mask.png")
    return folder


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
