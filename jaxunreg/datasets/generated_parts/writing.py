"""Parts as an MVTec-style tree of PNG files."""

import os
import shutil
import tempfile
from pathlib import Path

from PIL import Image

from jaxunreg.datasets.file_errors import OccupiedFolderError
from jaxunreg.datasets.folders.image_file import GOOD
from jaxunreg.datasets.generated_parts.synth import DEFECTS, synth_parts
from jaxunreg.integers import check_integer
from jaxunreg.paths import given_path

STARTS = {"train": 0, GOOD: 10**9, "crack": 2 * 10**9, "blowhole": 3 * 10**9}
"""The starts of the splits in the endless data set. No split reaches the next."""


def write_parts(
    directory: str | Path,
    *,
    train: int = 60,
    test: int = 12,
    seed: int = 0,
    image_size: tuple[int, int] = (256, 256),
) -> Path:
    """Write parts as an MVTec-style tree of PNG files, whole or not at all.

    Args:
      directory: the folder, which must be empty or not exist.
      train: number of images in `train/good`, at least 1.
      test: number of images in each of `test/good`, `test/crack` and `test/blowhole`, at least 1. Each defect has its
        mask in `ground_truth`.
      seed: seed of the data set, as for `synth_parts`.
      image_size: height and width in pixels, as for `synth_parts`.

    Returns:
      The directory.

    Raises:
      OccupiedFolderError: the folder is not empty.
      ArgumentTypeError: an argument is not an integer.
      ArgumentError: an argument is out of its range.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tree = write_parts(Path(folder) / "part", train=1, test=1, image_size=(64, 64))
    ...     sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*_mask.png"))
    ['ground_truth/blowhole/000_mask.png', 'ground_truth/crack/000_mask.png']
    """
    directory = given_path("directory", directory)
    train = check_integer("train", train, at_least=1, advice="ask for one image or more")
    test = check_integer("test", test, at_least=1, advice="ask for one image or more")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise OccupiedFolderError(directory, "exists and is not empty", advice="give another directory, or remove it")
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that it can be renamed at the end.
    partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    try:
        for split, count in (("train", train), (GOOD, test), *((defect, test) for defect in DEFECTS)):
            label = GOOD if split == "train" else split
            folder = partial / ("train" if split == "train" else "test") / label
            truth = partial / "ground_truth" / label
            for path in (folder,) if label == GOOD else (folder, truth):
                path.mkdir(parents=True)
            digits = max(3, len(str(count - 1)))
            for k in range(count):
                parts = synth_parts(
                    1,
                    seed=seed,
                    image_size=image_size,
                    defect="none" if label == GOOD else label,  # type: ignore[arg-type]
                    start=STARTS[split] + k,
                )
                Image.fromarray(parts.images[0, :, :, 0]).save(folder / f"{k:0{digits}}.png")
                if label != GOOD:
                    Image.fromarray(parts.masks[0]).save(truth / f"{k:0{digits}}_mask.png")
        partial.chmod(0o755)  # mkdtemp makes it readable only for its owner
        if directory.exists():
            directory.rmdir()
        os.replace(partial, directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return directory
