"""The features of all images of a data set, computed once and kept on disk while they are needed."""

import functools
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxunreg.datasets.folders import ImageFiles
from jaxunreg.datasets.folders.dataset import FolderDataset
from jaxunreg.features import EfficientNetLite0, FeatureNetwork
from jaxunreg.files import replacing
from jaxunreg.scoring.feature_stream import check_network, feature_maps
from jaxunreg.scoring.working_size import working_size

from .config import ManufacturingConfig, ManufacturingRun
from .measuring import Paced
from .splits import Split

_FOLDER = "features"


class StoredFeatures(NamedTuple):
    """Features of all images of a data set at one working size.

    Attributes:
      network: the network that made them.
      size: height and width of the working image.
      channels: channels of the images.
      file: the file of the features.
      maps: `[images, rows, columns, features]`, float16, on disk.
      milliseconds: time to read an image, resize it and pass it through the network; None if unknown.
      places: the index of each image in `maps`, by its path.
    """

    network: FeatureNetwork
    size: tuple[int, int]
    channels: int
    file: Path
    maps: np.ndarray
    milliseconds: float | None
    places: dict[Path, int]

    def numbers(self, images: ImageFiles) -> list[int]:
        """Return the indices of some images in `maps`."""
        return [self.places[file.path] for file in images.files]


@functools.cache
def feature_network() -> FeatureNetwork:
    """Return the network of the study."""
    return EfficientNetLite0.pretrained()


def size_of(config: ManufacturingConfig, split: Split) -> tuple[int, int]:
    """Return the working size of `jaxunreg fit` for the images from which a trial learns."""
    return working_size(split.train.sizes, config.detector(0).resolution, feature_network().stride)


def stored_features(run: ManufacturingRun, data: FolderDataset, size: tuple[int, int]) -> StoredFeatures:
    """Compute the features of all images of the data set, or read them back if this size was computed last.

    Raises:
      FeatureError: the network does not take the images, or features are not finite.
      OSError: the run's folder cannot be written.
    """
    network, images = feature_network(), data.train.joined(data.test)
    path = run.directory / _FOLDER / f"{size[0]}x{size[1]}.npy"
    pace = path.with_suffix(".json")
    if not path.exists():
        forget_features(run)  # Features of another size, from an earlier trial.
        check_network(network, size, data.channels)
        paced = Paced(images)
        maps = feature_maps(network, paced, len(images), size, data.channels, progress=run.config.progress)
        path.parent.mkdir(exist_ok=True)
        pace.write_text(json.dumps(paced.milliseconds), encoding="utf-8")
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, maps)
    return StoredFeatures(
        network,
        size,
        data.channels,
        path,
        np.load(path, mmap_mode="r"),
        json.loads(pace.read_text(encoding="utf-8")),
        {file.path: k for k, file in enumerate(images.files)},
    )


def forget_features(run: ManufacturingRun) -> None:
    """Remove all features of a run from the disk."""
    shutil.rmtree(run.directory / _FOLDER, ignore_errors=True)
