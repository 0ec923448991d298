"""Small images on disk, for the tests of folders."""

from pathlib import Path

import numpy as np
from PIL import Image


def gray(seed: int, height: int = 6, width: int = 9, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width), dtype)


def rgb(seed: int, height: int = 6, width: int = 9, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (height, width, 3), dtype)


def write(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def write_mask(path: Path, height: int = 6, width: int = 9, value: int = 255) -> Path:
    pixels = np.zeros((height, width), np.uint8)
    pixels[1:3, 2:5] = value
    return write(path, pixels)


def write_tree(root: Path) -> Path:
    """An MVTec-style tree with five training images and six test images of three kinds."""
    for i in range(5):
        write(root / "train" / "good" / f"{i:03}.png", gray(i))
    for i in range(2):
        write(root / "test" / "good" / f"{i:03}.png", gray(10 + i))
        for defect in ("crack", "dent"):
            write(root / "test" / defect / f"{i:03}.png", gray(20 + i))
    for i in range(2):
        write_mask(root / "ground_truth" / "crack" / f"{i:03}_mask.png")
    return root


def reason(skipped: tuple, path: Path) -> str:
    (found,) = [entry.reason for entry in skipped if entry.path == path]
    return found
