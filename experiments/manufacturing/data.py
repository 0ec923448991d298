"""The images of the study: a folder, or generated parts."""

import hashlib

from rich.markup import escape

from experiments.commands import console
from experiments.manufacturing.config import ManufacturingRun
from experiments.runs import RunError
from jaxunreg.datasets.folders.dataset import FolderDataset, load_folder
from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.datasets.generated_parts import write_parts

PART_SIZE = 256
"""Height and width of the generated parts."""


def load_data(run: ManufacturingRun) -> FolderDataset:
    """The images of the folder, or generated parts, noted in the run's `config.json`.

    Raises:
      RunError: the test images have no labels to tell apart, or the run began on other data.
      ImageFileError: an image cannot be used.
      OSError: the folder cannot be read.
    """
    config = run.config
    folder = config.data
    if folder is None:
        if config.patch > PART_SIZE:
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
        min_size=config.patch,
        seed=config.seed,
        progress=config.progress,
    )
    labels = set(data.test.labels)
    if GOOD not in labels or labels == {GOOD}:
        raise RunError(
            f"{folder} with test images of {sorted(labels)}",
            "normal and anomalous ones to tell apart",
            "use `jaxunreg fit` and `jaxunreg score` where there are no labels",
        )
    described = data.describe()
    # With the groups, which decide what is kept together in a split.
    parts = [described["train"]["fingerprint"], described["test"]["fingerprint"]]
    parts += [file.group for file in (*data.train.files, *data.test.files)]
    run.record_data({"fingerprint": hashlib.sha256("\0".join(parts).encode()).hexdigest(), **described})
    console.print(
        f"data: {data.name} ({data.layout}), {len(data.train)} to train on, {len(data.test)} to test on", markup=False
    )
    for path, reason in data.skipped:
        console.print(f"[yellow]skipped[/] {escape(f'{path}: {reason}')}", highlight=False)
    return data
