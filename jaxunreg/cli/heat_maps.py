"""The files that `jaxunreg score` writes for each image: their names and their content."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from jaxunreg.cli.options import CommandError
from jaxunreg.files import replacing
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.detector_folder import cannot_write
from jaxunreg.inspection.verdict import InspectedImage

# Bytes, in most file systems.
_LONGEST_NAME = 255


def check_apart(option: str, folder: Path, paths: Sequence[Path], suffix: str) -> None:
    """Check that no file for an image would lie among the scored images.

    Args:
      option: the option that names the folder.
      folder: folder for the files.
      paths: paths of the images.
      suffix: suffix of the files.

    Raises:
      CommandError: a file would lie there.
    """
    beside = {path.parent.resolve() for path in paths}
    for target in files_for(paths, folder, suffix):
        if target.parent.resolve() in beside:
            raise CommandError(
                f"{option} {folder}, where {target} would lie among the images that are scored",
                "another folder, or it would be scored as an image the next time",
                field=option,
            )


def files_for(paths: Sequence[Path], folder: Path, suffix: str) -> list[Path]:
    """Return the file of each image. All are in one tree, so images with one name in two folders do not collide."""
    resolved = [path.parent.resolve() / path.name for path in paths]
    root = Path(os.path.commonpath([path.parent for path in resolved]))
    return [folder / path.relative_to(root).with_name(_file_name(path.name, suffix)) for path in resolved]


def write_heat_map(detector: AnomalyDetector, found: InspectedImage, target: Path, title: str) -> None:
    """Write a picture of an image, beside its heat map over it.

    Args:
      detector: the detector that scored it.
      found: the image, its verdict and its pixels.
      target: the file; its folder is made.
      title: title of the picture.

    Raises:
      CheckpointError: it cannot be written.
    """
    from jaxunreg.plots.style import save_figure  # matplotlib is slow to import
    from jaxunreg.plots.verdicts import verdict_overlay

    assert found.pixels is not None  # for mypy: they were asked for
    heat = detector.heat_map(found.pixels, smooth=True)
    figure = verdict_overlay(detector, found.image, heat, found.verdict, title=title, counted=found.counted)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        save_figure(figure, target)
    except OSError as error:
        raise cannot_write(f"--heat-maps {target}", error) from error


def write_region_mask(detector: AnomalyDetector, found: InspectedImage, target: Path, rate: float | None) -> None:
    """Write a mask, white where an image has regions above the pixel level.

    Args:
      detector: the detector that scored it.
      found: the image, with its pixels.
      target: the file; its folder is made.
      rate: see `AnomalyDetector.regions`.

    Raises:
      CheckpointError: it cannot be written.
    """
    _write_image(target, Image.fromarray(detector.region_mask(found, rate).astype(np.uint8) * np.uint8(255)), "--masks")


def write_map(detector: AnomalyDetector, found: InspectedImage, target: Path) -> None:
    """Write a heat map in nats a pixel, float32, with NaN for ignored pixels, as TIFF or NPY by the suffix.

    Args:
      detector: the detector that scored it.
      found: the image, with its pixels.
      target: the file; its folder is made.

    Raises:
      CheckpointError: it cannot be written.
    """
    assert found.pixels is not None  # for mypy: they were asked for
    heat = detector.heat_map(found.pixels, smooth=True).astype(np.float32)
    if found.counted is not None:
        heat[~found.counted] = np.nan
    if target.suffix == ".tiff":
        _write_image(target, Image.fromarray(heat), "--maps")
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary, temporary.open("wb") as file:
            np.save(file, heat, allow_pickle=False)
    except OSError as error:
        raise cannot_write(f"--maps {target}", error) from error


def _write_image(target: Path, image: Image.Image, option: str) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            image.save(temporary, format={".png": "PNG", ".tiff": "TIFF"}[target.suffix])
    except OSError as error:
        raise cannot_write(f"{option} {target}", error) from error


def _file_name(image: str, suffix: str) -> str:
    """Return a file's name for an image. It includes the image's suffix, because there may be both a.png and a.jpg.

    >>> _file_name("a.jpg", ".png"), len(_file_name(251 * "a" + ".jpg", ".png"))
    ('a.jpg.png', 213)
    """
    if len(f"{image}{suffix}".encode()) <= _LONGEST_NAME:
        return f"{image}{suffix}"
    digest = hashlib.sha256(image.encode()).hexdigest()[:8]
    return f"{image.encode()[:200].decode(errors='ignore')}-{digest}{suffix}"
