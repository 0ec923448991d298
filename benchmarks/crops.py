"""Crops a second in `jaxunreg fit --space pixels`, against the training of the paper's large network on whole images.

    python -m benchmarks.crops --data FOLDER --json crops.json

Both train in this process and take turns. The large network sees 96x96x1 images that are in memory. The detector's
network sees random 96x96x3 crops of the folder's normal images, fed as `fit` feeds them. `ratio` is the speed of the
crops as a multiple of the large network's, times the operations of a crop by those of an image: above 1, the crops
take less time an operation. `feed_share` is the share of the time in which the batches are made, before they are
trained on. Without `--data`, the images are noise in memory.
"""

import dataclasses
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from rich.console import Console

from benchmarks import side
from benchmarks.speed import Runner, images_per_second
from jaxunreg.datasets.folders.dataset import load_folder
from jaxunreg.inspection.config import DetectorConfig
from jaxunreg.models.base import Model
from jaxunreg.training.batches import make_batches
from jaxunreg.training.state import starting_state
from jaxunreg.training.step import train_steps
from jaxunreg.training.training_images import TrainingImages


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure, and where to write it.

    Attributes:
      data: a folder of images as for `jaxunreg fit`; by default RGB noise in memory.
      parts: number of images of noise.
      size: height and width of the noise, in pixels.
      detector: settings of the detector.
      rounds: how often the sides take turns.
      seconds: how long each side runs in a round.
      json: where to write the result.
    """

    data: Path | None = None
    parts: int = 60
    size: int = 450
    detector: DetectorConfig = DetectorConfig(space="pixels")
    rounds: int = 7
    seconds: float = 2.0
    json: Path | None = None


def main(options: Options) -> dict[str, Any]:
    """Measure, print and write."""
    images: TrainingImages
    if options.data is not None:
        images = load_folder(options.data, progress=False).train
    else:
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (options.size, options.size, 3), np.uint8) for _ in range(options.parts)]
    result = _measure(images, options)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    Console().print_json(data=result)
    return result


def _measure(images: TrainingImages, options: Options) -> dict[str, Any]:
    model = options.detector.model(images[0].shape[-1]).for_platform(jax.default_backend())
    began = time.perf_counter()
    crops = _Crops(model, images, options.detector)
    started = time.perf_counter() - began
    large = side.ours("large", "train", "float32", steps=4)
    sides: dict[str, Runner] = {"crops": crops, "large": large}
    for runner in sides.values():
        runner()
    crops.feeding = crops.training = 0.0
    speeds = [
        {name: images_per_second(runner, options.seconds) for name, runner in sides.items()}
        for _ in range(options.rounds)
    ]
    operations = side.training_flops(model.config) / side.flops("large", "train")
    ratios = [one["crops"] / one["large"] * operations for one in speeds]
    return {
        "image_shape": list(model.config.image_shape),
        "images": len(images),
        "ratio": statistics.median(ratios),
        "ratio_low": min(ratios),
        "ratio_high": max(ratios),
        "crops_per_second": statistics.median(one["crops"] for one in speeds),
        "large_images_per_second": statistics.median(one["large"] for one in speeds),
        "operations_of_a_crop": operations,
        "feed_share": crops.feeding / (crops.feeding + crops.training),
        "start_seconds": started,
        "rounds": options.rounds,
        **side.versions(with_torch=False),
    }


class _Crops:
    """Some steps of a detector's training a call, fed as `fit` feeds them."""

    def __init__(self, model: Model, images: TrainingImages, config: DetectorConfig) -> None:
        key = jax.random.key(config.seed)
        self._model, self._config = model, dataclasses.replace(config.train, steps=10**6, steps_per_dispatch=4)
        self._state = starting_state(model, self._config, key, images)
        self._batches = make_batches(
            images,
            model.config.image_shape,
            jax.random.split(key)[1],
            batch_size=self._config.batch_size,
            steps=self._config.steps,
            steps_per_dispatch=self._config.steps_per_dispatch,
            on_device=self._config.images_on_device,
            threads=self._config.loader_threads,
        )
        self._step = 0
        self.feeding = self.training = 0.0

    def __call__(self) -> int:
        count, began = self._config.steps_per_dispatch, time.perf_counter()
        source, indices = self._batches.steps(self._step, count)
        fed = time.perf_counter()
        self._state, metrics = train_steps(self._model, self._config, self._state, source, indices, np.int32(count))
        metrics.loss.block_until_ready()
        self._step += count
        self.feeding += fed - began
        self.training += time.perf_counter() - fed
        return count * self._config.batch_size


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
