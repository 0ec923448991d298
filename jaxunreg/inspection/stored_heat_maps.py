"""Heat maps of many images, which wait in files until all are there to be compared with the masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from jaxunreg.metrics.pixels import per_region_overlap, pixel_roc_auc


class StoredHeatMaps:
    """The heat maps of images of known sizes under several scores, float32, in memory-mapped files.

    Args:
      folder: where the files go; it must exist until the object is gone.
      sizes: height and width of each image, `[n, 2]`.
      names: of the scores.
    """

    def __init__(self, folder: str | Path, sizes: Int64[np.ndarray, "n 2"], names: Sequence[str]) -> None:
        self._sizes = [(height, width) for height, width in sizes.tolist()]
        ends = np.cumsum(sizes.prod(axis=1)).tolist()
        self._places = list(zip([0, *ends[:-1]], ends, strict=True))
        self._values = {
            name: np.memmap(Path(folder, name), dtype=np.float32, mode="w+", shape=(ends[-1],)) for name in names
        }

    def store(self, index: int, pixels: Mapping[str, np.ndarray]) -> None:
        """Store the maps of one image.

        Args:
          index: of the image.
          pixels: for each score `[height, width]`.
        """
        start, stop = self._places[index]
        for name, values in self._values.items():
            values[start:stop] = np.ravel(pixels[name])

    def metrics(self, masks: Sequence[np.ndarray | None]) -> Mapping[str, Mapping[str, float]]:
        """How well the maps find the masks: for each score its `roc_auc` and `aupro`.

        Args:
          masks: boolean `[height, width]` of each image; None for a normal image.
        """
        found: dict[str, Mapping[str, float]] = {}
        for name, values in self._values.items():
            heats = [
                values[start:stop].reshape(size) for (start, stop), size in zip(self._places, self._sizes, strict=True)
            ]
            found[name] = {"roc_auc": pixel_roc_auc(heats, masks), "aupro": per_region_overlap(heats, masks)}
        return found

    def close(self) -> None:
        """Let go of the files, which some systems do not delete while they are mapped."""
        self._values.clear()
