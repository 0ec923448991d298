"""Waiting times of a user: seconds to fit, to score and to evaluate, milliseconds a part, and memory.

    python -m benchmarks.inspection --data FOLDER --json inspection.json

runs `jaxunreg fit`, `score` and `evaluate` on a folder with the default settings, each in a separate process, twice:
first with nothing compiled, then with the programs that the first run left on disk. Seconds are from the start of the
process to its end. It also measures how long an import, the help, and the score of one image take. Then the compiled
detector scores the test images one after another in this process. Without `--data`, parts are generated.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.starts import environment_of_start
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.generated_parts import write_parts
from jaxunreg.inspection import AnomalyDetector, unseen_images


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and where to write it.

    Attributes:
      data: a folder of images with defects, laid out as for `jaxunreg evaluate`; by default parts are generated.
      parts: normal training images in the generated folder. There are a fifth as many test images.
      size: height and width of the generated parts, in pixels.
      false_positive_rate: false-positive rate of the detector.
      parts_scored: number of images that are scored one after another in this process.
      json: where to write the list of results.
    """

    data: Path | None = None
    parts: int = 100
    size: int = 450
    false_positive_rate: float = 0.05
    parts_scored: int = 50
    json: Path | None = None


def main(options: Options) -> list[dict[str, Any]]:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = options.data
        if data is None:
            tests, size = max(1, options.parts // 5), (options.size, options.size)
            data = write_parts(work / "parts", train=options.parts, test=tests, image_size=size)
        results = measure(data.resolve(), work, options)
    table = Table(title=f"the detector of features on {data.name}, default settings")
    for column in ("", "seconds", "with programs on disk", "milliseconds a part", "95 % of parts below", "peak MB"):
        table.add_column(column, justify="left" if not column else "right")
    for row in results:
        cells = [row.get(key) for key in ("seconds", "seconds_compiled", "milliseconds", "milliseconds_95", "peak_mb")]
        table.add_row(row["what"], *("" if cell is None else f"{cell:.{0 if cell > 99 else 1}f}" for cell in cells))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def measure(data: Path, work: Path, options: Options) -> list[dict[str, Any]]:
    """Return a row for each command, and one for parts that are scored one after another.

    Args:
      data: the folder of images.
      work: an empty folder for the files of the commands.
      options: see `Options`.
    """
    rate = ["--false-positive-rate", str(options.false_positive_rate)]
    rows = []
    for command in ("fit", "score", "evaluate"):
        runs = []
        for number in ("first", "second"):
            model = work / f"model-{number}"
            arguments = {
                "fit": [str(data), "--output", str(model), *rate],
                "score": [str(data), "--model", str(model), "--output", str(work / f"{number}.csv")],
                "evaluate": [str(data), "--model", str(model), "--output", str(work / f"evaluation-{number}")],
            }[command]
            runs.append(run_python(["-m", "jaxunreg", command, *arguments], work / "cache"))
        rows.append(
            {
                "what": f"jaxunreg {command}",
                "seconds": runs[0]["seconds"],
                "seconds_compiled": runs[1]["seconds"],
                "peak_mb": max(one["peak_mb"] for one in runs),
            }
        )
    model = work / "model-first"
    return [*rows, *first_use(data, model, work / "cache"), score_in_this_process(data, model, options.parts_scored)]


def first_use(data: Path, model: Path, cache: Path) -> list[dict[str, Any]]:
    """Return the seconds to import the package, show the help, and score one image with programs on disk."""
    image = load_folder(data, progress=False).test.files[0].path
    starts = {
        "import jaxunreg": ["-c", "import jaxunreg"],
        "jaxunreg --help": ["-m", "jaxunreg", "--help"],
        "jaxunreg score, one image": ["-m", "jaxunreg", "score", str(image), "--model", str(model)],
    }
    rows = []
    for what, arguments in starts.items():
        runs = [run_python(arguments, cache) for _ in range(_STARTS)]
        rows.append({"what": what, **{key: statistics.median(one[key] for one in runs) for key in runs[0]}})
    return [{"what": row["what"], "seconds_compiled": row["seconds"], "peak_mb": row["peak_mb"]} for row in rows]


_STARTS = 5
"""How often each start is measured."""


# A process counts the memory of the process that started it in its own peak. This starting process is small.
_WATCH = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps({"seconds": seconds, "peak": peak, "ended": done.returncode, "told": done.stderr[-2000:]}))
"""


def run_python(arguments: list[str], cache: Path) -> dict[str, float]:
    """Return the seconds and the peak memory of a Python process.

    Args:
      arguments: arguments of `python`.
      cache: folder of compiled programs.

    Raises:
      RuntimeError: the command ends with an error.
    """
    command = [sys.executable, "-c", _WATCH, sys.executable, *arguments]
    watched = subprocess.run(command, env=environment_of_start(cache), check=True, capture_output=True, text=True)
    found = json.loads(watched.stdout)
    if found["ended"] not in (0, 3):  # 3: an anomaly was found.
        raise RuntimeError(f"python {' '.join(arguments)} ended with {found['ended']}: {found['told']}")
    # macOS counts bytes, others kilobytes.
    return {"seconds": found["seconds"], "peak_mb": found["peak"] / (1e6 if sys.platform == "darwin" else 1e3)}


def score_in_this_process(data: Path, model: Path, count: int) -> dict[str, Any]:
    """Return milliseconds from one verdict to the next, for images in memory that come one after another."""
    detector = AnomalyDetector.load(model)
    test = unseen_images(detector, load_folder(data, progress=False)).images
    images = [test[k % len(test)] for k in range(count + 1)]
    taken, began = [], 0.0
    for verdict in detector.scores(images):
        taken.append(1e3 * (time.perf_counter() - began))
        began = time.perf_counter()
        assert np.isfinite(verdict.score)
    height, width = images[0].shape[:2]
    return {
        "what": f"a part of {height}x{width}, once compiled",
        "milliseconds": statistics.median(taken[1:]),
        "milliseconds_95": float(np.quantile(taken[1:], 0.95)),
    }


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
