"""The images of a data set: a folder, or generated parts."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from jaxunreg.datasets.folders.dataset import FolderDataset, load_folder
from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.datasets.folders.layouts import find_layout
from jaxunreg.datasets.generated_parts import write_parts
from jaxunreg.scoring.working_size import SMALLEST_IMAGE

from ..commands import console
from ..runs import RunError
from .config import ManufacturingRun
from .models import of_pixels

PART_SIZE = 256
"""Height and width of the generated parts."""


def check_folders(folders: Sequence[Path]) -> None:
    """Refuse folders that lack normal images to train on, or either kind to test on, before any image is read.

    Raises:
      RunError: a folder is missing, or lacks images of a kind.
      FolderError: the layout of a folder is unknown.
    """
    if len(folders) < 2:
        return  # Errors of a single folder are found at once when it is loaded.
    for folder in folders:
        if not folder.is_dir():
            raise RunError(f"{folder}, which is not a folder", "a folder of images", "leave it out of --data")
        found = find_layout(folder)
        if not found.train or not any(file.label != GOOD for file in found.test):
            raise RunError(
                f"{folder} with {len(found.train)} normal images to train on and {len(found.test)} to test on",
                "normal ones to train on, and normal and anomalous ones to test on",
                "leave it out of --data",
            )


def load_data(run: ManufacturingRun) -> FolderDataset:
    """Load the images of the run's one folder, or generate parts, and note them in its `config.json`.

    Raises:
      RunError: the test images are not both normal and anomalous, or the run began on other data.
      ImageFileError: an image cannot be used.
      OSError: the folder cannot be read.
    """
    config = run.config
    if config.data:
        [folder] = config.data
    else:
        if of_pixels(config) and config.patch > PART_SIZE:
            raise RunError(
                f"--patch {config.patch} without --data",
                f"at most {PART_SIZE}, the height and width of a generated part",
            )
        folder = run.directory / "parts"
        if not folder.exists():
            console.print(f"no --data: {config.parts} parts are generated")
            size = (PART_SIZE, PART_SIZE)
            write_parts(folder, train=config.parts, test=max(1, config.parts // 5), seed=config.seed, image_size=size)
    data = load_folder(
        folder,
        color=config.color,
        on_error=config.on_error,
        min_size=config.patch if of_pixels(config) else SMALLEST_IMAGE,
        seed=config.seed,
        progress=config.progress,
    )
    labels = set(data.test.labels)
    if GOOD not in labels or labels == {GOOD}:
        raise RunError(
            f"{folder} with test images of {sorted(labels)}",
            "normal and anomalous ones",
            "use `jaxunreg fit` and `jaxunreg score` if there are no labels",
        )
    described = data.describe()
    # With the groups, which splits keep together.
    parts = [described["train"]["fingerprint"], described["test"]["fingerprint"]]
    parts += [file.group for file in (*data.train.files, *data.test.files)]
    run.record_data({"fingerprint": hashlib.sha256("\0".join(parts).encode()).hexdigest(), **described})
    console.print(
        f"data: {data.name} ({data.layout}), {len(data.train)} to train on, {len(data.test)} to test on", markup=False
    )
    for path, reason in data.skipped:
        console.print(f"[yellow]skipped[/] {escape(f'{path}: {reason}')}", highlight=False)
    return data
