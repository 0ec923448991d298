"""Images that the tests of the command line write, the sizes of a small model, and the rows that `score` prints."""

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image

TINY = [
    *(
        "--space",
        "pixels",
        "--patch",
        "8",
        "--depth",
        "2",
        "--base-channels",
        "4",
        "--latent-dim",
        "3",
        "--stride",
        "4",
    ),
    *("--steps", "24", "--batch-size", "8", "--steps-per-dispatch", "4", "--checkpoint-every", "8"),
    *("--warmup-steps", "4"),
    *("--false-positive-rate", "0.2"),
]


def good(seed: int, height: int = 12, width: int = 15) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 120, (height, width), np.uint8)


def odd(seed: int) -> np.ndarray:
    pixels = good(seed)
    pixels[2:10, 3:11] = np.tile(np.array([[0, 255], [255, 0]], np.uint8), (4, 4))
    return pixels


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def rows(text: str) -> list[dict]:
    return list(csv.DictReader(io.StringIO(text)))
