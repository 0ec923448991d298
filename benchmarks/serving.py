"""The service at saturation: images a second, and milliseconds from a request to its answer.

    python -m benchmarks.serving --json serving.json

starts `jaxunreg serve` in a separate process on the loopback interface. Several clients send parts to it, each the next
part as soon as it has an answer. Every answer is compared with the score of the same image by the same detector in this
process. No two images have the same score, so mixed-up answers are found. At the end, the benchmark asks the service
how many images it has scored, and stops it by SIGTERM. In the second row there are more clients than places. So
requests are refused, and come again after the time in `Retry-After`.
"""

import contextlib
import http.client
import io
import json
import math
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table

from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.datasets.generated_parts import write_parts
from jaxunreg.inspection import AnomalyDetector, DetectorConfig, fit_detector
from jaxunreg.provenance import device

# The service scores several images in one call, which rounds differently.
_TOLERANCE = 1e-5


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and where to write it.

    Attributes:
      model: folder that `jaxunreg fit` wrote; by default one is fitted to generated parts.
      size: height and width of the parts, in pixels.
      images: number of different parts to send.
      clients: number of clients at a time, for each row.
      places: number of images that may wait or be scored at a time, for each row.
      seconds: how long the clients ask.
      json: where to write the results.
    """

    model: Path | None = None
    size: int = 450
    images: int = 40
    clients: tuple[int, ...] = (8, 16)
    places: tuple[int, ...] = (32, 6)
    seconds: float = 30.0
    json: Path | None = None


def main(options: Options) -> list[dict[str, Any]]:
    """Measure, print and write."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        data = write_parts(work / "parts", train=100, test=options.images, image_size=(options.size, options.size))
        folder = load_folder(data, progress=False)
        model = options.model or work / "model"
        if options.model is None:
            fit_detector(folder.train, DetectorConfig(), key=jax.random.key(0), directory=model)
        parts = [folder.test[k] for k in range(min(options.images, len(folder.test)))]
        detector = AnomalyDetector.load(model)
        expected = [verdict.score for verdict in detector.scores(parts)]
        if (np.diff(np.sort(expected)) < 2 * _TOLERANCE * np.abs(expected).max()).any():
            raise RuntimeError("two parts have nearly the same score")
        bodies = [_as_png(part) for part in parts]
        results = [
            saturate(model, bodies, expected, clients, places, options.seconds)
            for clients, places in zip(options.clients, options.places, strict=True)
        ]
    table = Table(title=f"jaxunreg serve, parts of {options.size}x{options.size} as PNG, {device()}")
    for column in ("clients", "places", "seconds", "answers", "wrong", "lost", "refused", "a second"):
        table.add_column(column, justify="right")
    for column in ("p50 ms", "p95 ms", "p99 ms"):
        table.add_column(column, justify="right")
    for row in results:
        table.add_row(*(f"{value:.1f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    if options.json is not None:
        content = {"size": options.size, "device": device(), "rows": results}
        options.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return results


def saturate(
    model: Path, bodies: list[bytes], expected: list[float], clients: int, places: int, seconds: float
) -> dict[str, Any]:
    """Let clients use one service for so many seconds.

    Args:
      model: model of the service.
      bodies: the images as bytes to send.
      expected: the score of each.
      clients: number of clients at a time.
      places: places of the service.
      seconds: duration in seconds.

    Raises:
      RuntimeError: the service has scored more or fewer images than it has answered, or does not end with 0.
    """
    counts: Counter[str] = Counter()
    took: list[float] = []
    with serving(model, places) as address:
        ends = time.perf_counter() + seconds

        def ask(client: int) -> None:
            order = random.Random(client)
            connection = http.client.HTTPConnection(address, timeout=60)
            with contextlib.closing(connection):
                while time.perf_counter() < ends:
                    k = order.randrange(len(bodies))
                    began = time.perf_counter()
                    try:
                        connection.request("POST", f"/score?name={k}.png", bodies[k])
                        answer = connection.getresponse()
                        content = json.loads(answer.read())
                    except (OSError, http.client.HTTPException):
                        counts["lost"] += 1
                        connection.close()
                        continue
                    if answer.status == 503:
                        counts["refused"] += 1
                        time.sleep(float(answer.headers["Retry-After"]))
                        continue
                    took.append(1e3 * (time.perf_counter() - began))
                    row: dict[str, Any] = content["results"][0] if answer.status == 200 else {}
                    is_named = row.get("name") == f"{k}.png"
                    right = is_named and math.isclose(row["score"], expected[k], rel_tol=_TOLERANCE)
                    counts["answers" if right else "wrong"] += 1

        began = time.perf_counter()
        threads = [threading.Thread(target=ask, args=[client]) for client in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - began
        connection = http.client.HTTPConnection(address, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", "/healthz")
            scored = json.loads(connection.getresponse().read())["scored"]
    answered = counts["answers"] + counts["wrong"]
    if scored != answered:
        raise RuntimeError(f"the service has scored {scored} images and answered {answered}")
    p50, p95, p99 = np.quantile(took, [0.5, 0.95, 0.99]).tolist()
    return {
        "clients": clients,
        "places": places,
        "seconds": elapsed,
        **{name: counts[name] for name in ("answers", "wrong", "lost", "refused")},
        "images_a_second": answered / elapsed,
        "milliseconds_50": p50,
        "milliseconds_95": p95,
        "milliseconds_99": p99,
    }


@contextlib.contextmanager
def serving(model: Path, places: int) -> Iterator[str]:
    """Start a warm service in a separate process, and yield its host and port.

    Raises:
      RuntimeError: it does not end with 0 when it is stopped.
    """
    command = [sys.executable, "-m", "jaxunreg", "serve", str(model), "--port", "0", "--max-queue", str(places)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            if not address:
                raise RuntimeError("the service did not start")
            yield address.removeprefix("http://")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    if process.returncode != 0:
        raise RuntimeError(f"the service ended with {process.returncode}")


def _as_png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(file, "PNG")
    return file.getvalue()


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
