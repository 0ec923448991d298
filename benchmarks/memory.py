"""Resident memory of scoring large images of several sizes, each in a fresh process.

    python -m benchmarks.memory --json memory.json

Each process scores one image of random pixels with the paper's network for 96x96 patches, and reports the peak of its
resident memory, including Python and JAX.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import jaxunreg as ju
from benchmarks import side
from jaxunreg.models.base import init_variables

# Height, width, stride.
IMAGES = ((480, 640, 4), (2200, 1024, 16), (4400, 2048, 32), (8800, 4096, 64))


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and where to write it.

    Attributes:
      image: height, width and stride of the one image to score in this process; by default a list, each in its own
        process.
      json: where to write the list of results.
    """

    image: tuple[int, int, int] | None = None
    json: Path | None = None


def main(options: Options) -> None:
    """Measure, print and write."""
    if options.image is not None:
        print(json.dumps(measure(*options.image)))
        return
    results = []
    table = Table(title=f"peak resident memory on {side.machine()}")
    for column in ("image", "stride", "patches", "seconds", "MB"):
        table.add_column(column, justify="right")
    for image in IMAGES:
        command = [sys.executable, "-m", "benchmarks.memory", "--image", *map(str, image)]
        output = subprocess.run(command, env=os.environ, check=True, capture_output=True, text=True).stdout
        row = json.loads(output)
        results.append(row)
        table.add_row(
            f"{row['height']}x{row['width']}",
            str(row["stride"]),
            str(row["patches"]),
            f"{row['seconds']:.1f}",
            f"{row['peak_memory_mb']:.0f}",
        )
    Console().print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def measure(height: int, width: int, stride: int) -> dict[str, Any]:
    """Score one image in this process."""
    model = side.model("large")
    scorer = ju.make_scorer(model, init_variables(model, jax.random.key(0)))
    image = np.random.default_rng(0).integers(0, 256, (height, width, 1), np.uint8)
    began = time.perf_counter()
    maps = ju.score_image(scorer, image, stride=stride)
    patches = np.asarray(maps.m).size
    return {
        "height": height,
        "width": width,
        "stride": stride,
        "patches": patches,
        "seconds": time.perf_counter() - began,
        "peak_memory_mb": side.peak_memory_mb(),
    }


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
