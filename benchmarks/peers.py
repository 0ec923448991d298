"""Our detector beside PyOD's, scikit-learn's and anomalib's, on the same split: accuracy, time and memory.

    python -m benchmarks.peers --data FOLDER --json peers.json

Each method runs in a process of its own. It learns from the training images of the folder and scores the test images,
all at one resolution. Seconds to fit are from images in memory to a fitted method, compilation included. Milliseconds
an image are of one call for all test images, after a first call. Memory is the peak of the process. Methods of tables
see the means and standard deviations of the features that our detector sees, or pixels at 32x32; the network's time is
part of theirs. anomalib's PaDiM and PatchCore have the network's levels and weights, since theirs would be downloaded.

A method whose package is missing is skipped: `pip install -e '.[bench]'` brings PyOD. Without `--data`, parts are
generated.
"""

import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.peer_methods import METHODS, Columns
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.generated_parts import write_parts


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and where to write it.

    Attributes:
      data: folders of images with defects, laid out as for `jaxunreg evaluate`; by default parts are generated.
      resolution: height and width at which images are looked at; a multiple of 16.
      parts: normal images to learn from in the folder that is generated; a fifth as many are to test on.
      methods: names of methods; by default all.
      only: measure this method in this process, and print a line of JSON; the benchmark starts itself so.
      columns: what that method sees.
      json: where to write the list of results.
    """

    data: tuple[Path, ...] = ()
    resolution: int = 256
    parts: int = 60
    methods: tuple[str, ...] = tuple(METHODS)
    only: str | None = None
    columns: Columns = "images"
    json: Path | None = None


def main(options: Options) -> list[dict[str, Any]]:
    """Measure, print and write."""
    if options.only is not None:
        row = measure(options.only, options.columns, options.data[0], options.resolution)
        print(json.dumps(row))
        return [row]
    results = []
    with tempfile.TemporaryDirectory() as work:
        folders = options.data
        if not folders:
            folders = (write_parts(Path(work, "generated"), train=options.parts, test=max(1, options.parts // 5)),)
        for folder in folders:
            for name in options.methods:
                for columns in METHODS[name][1]:
                    results.append(in_process(name, columns, folder.resolve(), options.resolution))
    Console(width=None if sys.stdout.isatty() else 140).print(_table(results))
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def in_process(name: str, columns: Columns, folder: Path, resolution: int) -> dict[str, Any]:
    """The row of a method that runs in a process of its own, or the reason why it was skipped."""
    row: dict[str, Any] = {"data": folder.name, "method": name, "columns": columns, "resolution": resolution}
    package = METHODS[name][0]
    if importlib.util.find_spec(package) is None:
        return row | {"skipped": f"{package} is not installed"}
    arguments = ["--only", name, "--columns", columns, "--data", str(folder), "--resolution", str(resolution)]
    done = subprocess.run([sys.executable, "-m", "benchmarks.peers", *arguments], capture_output=True, text=True)
    if done.returncode:
        return row | {"skipped": f"it failed: {done.stderr.strip().splitlines()[-1]}"}
    return row | json.loads(done.stdout.splitlines()[-1])


def measure(name: str, columns: Columns, folder: Path, resolution: int) -> dict[str, Any]:
    """Fit a method, score the test images, and say how good, how fast and how large it is.

    Args:
      name: of the method.
      columns: what it sees.
      folder: of images with defects.
      resolution: at which images are looked at.

    Returns:
      JSON data: `auc` with its interval, `seconds_to_fit`, `milliseconds` an image, `peak_mb`, the package's `version`.
    """
    from jaxunreg.metrics.ranking import roc_auc

    data = load_folder(folder, progress=False)
    training, test = list(data.train), list(data.test)
    package, _, make = METHODS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of the peers
        method = make(columns, resolution)
        began = time.perf_counter()
        method.fit(training)
        fitted = time.perf_counter() - began
        method.scores(test[:8])
        began = time.perf_counter()
        scores = method.scores(test)
        milliseconds = 1e3 * (time.perf_counter() - began) / len(test)
    anomalous = data.test.is_anomalous
    scores = np.nan_to_num(scores, nan=np.inf, posinf=np.finfo(np.float64).max)
    # macOS counts bytes, others kilobytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    auc = roc_auc(scores[~anomalous], scores[anomalous])
    return {
        "auc": auc.value,
        "auc_low": auc.low,
        "auc_high": auc.high,
        "seconds_to_fit": fitted,
        "milliseconds": milliseconds,
        "peak_mb": peak,
        "images": {"train": len(training), "normal": int((~anomalous).sum()), "anomalous": int(anomalous.sum())},
        "version": version({"sklearn": "scikit-learn"}.get(package, package)),
    }


def _table(results: list[dict[str, Any]]) -> Table:
    table = Table(title="methods on the same split")
    for column in ("data", "method", "sees", "ROC AUC", "seconds to fit", "ms an image", "peak MB"):
        table.add_column(column, justify="left" if column in ("data", "method", "sees") else "right")
    for row in results:
        figures = (
            [row["skipped"], "", "", ""]
            if "skipped" in row
            else [
                f"{row['auc']:.3f}",
                f"{row['seconds_to_fit']:.1f}",
                f"{row['milliseconds']:.1f}",
                f"{row['peak_mb']:.0f}",
            ]
        )
        table.add_row(row["data"], row["method"], row["columns"], *figures)
    return table


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
