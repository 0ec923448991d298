"""Images a second of training and scoring on 1, 2 and 8 devices, against the same work without a mesh.

    python -m benchmarks.devices --json devices.json

On a machine without accelerators the devices are fake: they share the cores of one processor, which a single device
already uses fully. So nothing can be gained there, and a ratio below one shows the cost of splitting the work: smaller
matrix products, one program a device, and, in training, sums over the devices. On accelerators the ratio is the gain.
First it checks that the sharded scores are those of one device. Then the configurations take turns, and the median over
the rounds is printed.
"""

import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import jaxunreg as ju
from benchmarks import side
from benchmarks.fake_devices import ensure_devices
from benchmarks.side import Network
from benchmarks.speed import Runner, ratios, take_turns
from jaxunreg.parallel.mesh import data_mesh, replicate, split_columns
from jaxunreg.scoring.on_devices import Backend
from jaxunreg.training.state import init_state
from jaxunreg.training.step import train_steps

STEPS = 4
# On an accelerator, products of another size may be added up in another order.
_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and where to write it.

    Attributes:
      network: one of the paper's two.
      devices: numbers of devices, one configuration each. Fake devices are made if there are no others.
      phases: training, scoring or both.
      backend: how the scorer runs on each device.
      rounds: how often the configurations take turns.
      seconds: how long each runs in a round.
      json: where to write the list of results.
    """

    network: Network = "toy"
    devices: tuple[int, ...] = (1, 2, 8)
    phases: tuple[Literal["train", "score"], ...] = ("train", "score")
    backend: Backend = "shard_map"
    rounds: int = 3
    seconds: float = 1.0
    json: Path | None = None


def main(options: Options) -> list[dict[str, Any]]:
    """Measure, print and write."""
    ensure_devices(max(options.devices))
    results = []
    for phase in options.phases:
        runners: dict[int | None, Runner] = {}
        compile_seconds = {}
        for count in (None, *options.devices):
            began = time.perf_counter()
            runners[count] = _train(options.network, count) if phase == "train" else _score(options, count)
            runners[count]()
            compile_seconds[count] = time.perf_counter() - began
        speeds = take_turns(runners, options.rounds, options.seconds)
        for count in options.devices:
            results.append(
                {
                    "network": options.network,
                    "phase": phase,
                    "devices": count,
                    "backend": options.backend if phase == "score" else None,
                    "platform": jax.default_backend(),
                    "images_per_second": statistics.median(speeds[count]),
                    "images_per_second_without_mesh": statistics.median(speeds[None]),
                    **ratios(speeds[count], speeds[None]),
                    "first_call_seconds": compile_seconds[count],
                    "rounds": options.rounds,
                    "batch_size": side.BATCH_SIZE[options.network],
                    "machine": side.machine(),
                    "jax": jax.__version__,
                }
            )
    Console().print(_table(results))
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results


def _train(network: Network, count: int | None) -> Runner:
    """Do `STEPS` updates of one batch size for any number of devices. Each device keeps all images."""
    model, batch_size = side.model(network).for_platform(jax.default_backend()), side.BATCH_SIZE[network]
    config = ju.TrainConfig(steps=10**6, batch_size=batch_size, steps_per_dispatch=STEPS)
    state = init_state(model, config, jax.random.key(0))
    everything = side.images(network)[: 4 * STEPS * batch_size]
    rows = np.random.default_rng(1).integers(0, len(everything), (STEPS, batch_size), np.int32)
    images, indices = jax.device_put(everything), jax.device_put(rows)
    if count is not None:
        mesh = data_mesh(jax.devices()[:count])
        state, images = replicate((state, everything), mesh)
        indices = split_columns(rows, mesh, batch_size)
    states = [state]

    def run() -> int:
        state, metrics = train_steps(model, config, states.pop(), images, indices, np.int32(STEPS))
        states.append(state)
        metrics.loss.block_until_ready()
        return STEPS * batch_size

    return run


def _score(options: Options, count: int | None) -> Runner:
    """Score as many images as eight devices take in two calls."""
    model, images = side.model(options.network), side.images(options.network)[: 16 * side.BATCH_SIZE[options.network]]
    state = init_state(model, ju.TrainConfig(steps=1), jax.random.key(0))
    scorer = ju.make_scorer(model, state.variables)

    def alone(images: np.ndarray) -> ju.Decomposition:
        return ju.score_images(scorer, images)

    score = ju.sharded_scorer(scorer, jax.devices()[:count], backend=options.backend) if count else alone
    if count:
        # Otherwise the comparison is void.
        np.testing.assert_allclose(np.stack(score(images)), np.stack(alone(images)), rtol=_TOLERANCE)

    def run() -> int:
        score(images)
        return len(images)

    return run


def training_alike(network: Network, count: int, steps: int = 20) -> dict[str, Any]:
    """Return how far a training on several devices is from the same on one, and how far rounding takes that.

    Args:
      network: one of the paper's two.
      count: number of devices, which divides the batch size.
      steps: length of the training.

    Returns:
      The largest difference between two parameters or statistics; the same for two trainings on one device whose images
      differ in the last bit; and the largest difference of a negative ELBO, as a share of it.
    """
    model, images = side.model(network), (side.images(network)[: 4 * side.BATCH_SIZE[network]] / 255).astype(np.float32)
    config = ju.TrainConfig(steps=steps, batch_size=side.BATCH_SIZE[network])

    def fit(images: np.ndarray, count: int) -> Any:
        devices = jax.devices()[:count]
        return ju.fit(model, images, config, key=jax.random.key(0), devices=devices, progress=False).variables

    alone, together, moved = fit(images, 1), fit(images, count), fit(np.nextafter(images, np.float32(0.5)), 1)
    nelbo, expected = (ju.score_images(ju.make_scorer(model, found), images).nelbo for found in (together, alone))
    return {
        "network": network,
        "devices": count,
        "steps": steps,
        "distance": _distance(together, alone),
        "rounding": _distance(moved, alone),
        "nelbo_difference": float(np.max(np.abs(nelbo - expected) / np.abs(expected))),
    }


def _distance(a: Any, b: Any) -> float:
    return max(float(np.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def _table(results: list[dict[str, Any]]) -> Table:
    fake = "fake " if results[0]["platform"] == "cpu" else ""
    table = Table(title=f"{results[0]['network']} network on {side.machine()}")
    for column in ("phase", f"{fake}devices", "images/s", "without mesh", "ratio", "first call s"):
        table.add_column(column, justify="right")
    for row in results:
        table.add_row(
            row["phase"],
            str(row["devices"]),
            f"{row['images_per_second']:.0f}",
            f"{row['images_per_second_without_mesh']:.0f}",
            f"{row['ratio']:.2f} ({row['ratio_low']:.2f}-{row['ratio_high']:.2f})",
            f"{row['first_call_seconds']:.1f}",
        )
    return table


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
