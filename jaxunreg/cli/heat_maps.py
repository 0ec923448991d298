"""The pictures of `jaxunreg score --heat-maps`: where they go, and how they are made."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from jaxunreg.cli.options import CommandError
from jaxunreg.inspection.detector import AnomalyDetector
from jaxunreg.inspection.detector_folder import cannot_write
from jaxunreg.inspection.verdict import InspectedImage

# Bytes, in most file systems.
_LONGEST_NAME = 255


def check_apart(folder: Path, paths: Sequence[Path]) -> None:
    """Check that no heat map would lie beside an image, as those of single files may.

    Raises:
      CommandError: one would.
    """
    beside = {path.parent.resolve() for path in paths}
    for target in heat_map_files(paths, folder):
        if target.parent.resolve() in beside:
            raise CommandError(
                f"--heat-maps {folder}, where {target} would lie among the images that are scored",
                "another folder, or it would be scored as an image the next time",
                field="heat_maps",
            )


def heat_map_files(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Where the heat map of each image goes: all in one tree, so that images of one name in two folders do not meet."""
    resolved = [path.parent.resolve() / path.name for path in paths]
    root = Path(os.path.commonpath([path.parent for path in resolved]))
    return [folder / path.relative_to(root).with_name(_file_name(path.name)) for path in resolved]


def write_heat_map(detector: AnomalyDetector, found: InspectedImage, target: Path, title: str) -> None:
    """Write a picture of an image, beside its heat map over it.

    Args:
      detector: what scored it.
      found: the image, its verdict and its pixels.
      target: the file; its folder is made.
      title: of the picture.

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


def _file_name(image: str) -> str:
    """The name of an image's heat map. It has the image's own suffix, since a.png and a.jpg may lie side by side.

    >>> _file_name("a.jpg"), len(_file_name(251 * "a" + ".jpg"))
    ('a.jpg.png', 213)
    """
    if len(f"{image}.png".encode()) <= _LONGEST_NAME:
        return f"{image}.png"
    digest = hashlib.sha256(image.encode()).hexdigest()[:8]
    return f"{image.encode()[:200].decode(errors='ignore')}-{digest}.png"
