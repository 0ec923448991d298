"""Heat maps of many images, which wait in files until all are there to be compared with the masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from jaxunreg.decomposition import TERMS, Decomposition
from jaxunreg.metrics.pixels import per_region_overlap, pixel_roc_auc


class StoredHeatMaps:
    """The heat maps of images of known sizes under every term, float32, in memory-mapped files.

    Args:
      folder: where the files go; it must exist until the object is gone.
      sizes: height and width of each image, `[n, 2]`.
    """

    def __init__(self, folder: str | Path, sizes: Int64[np.ndarray, "n 2"]) -> None:
        self._sizes = [(height, width) for height, width in sizes.tolist()]
        ends = np.cumsum(sizes.prod(axis=1)).tolist()
        self._places = list(zip([0, *ends[:-1]], ends, strict=True))
        self._values = {
            term: np.memmap(Path(folder, term), dtype=np.float32, mode="w+", shape=(ends[-1],)) for term in TERMS
        }

    def store(self, index: int, pixels: Decomposition) -> None:
        """Store the terms of the pixels of one image.

        Args:
          index: of the image.
          pixels: `[height, width]` each.
        """
        start, stop = self._places[index]
        for term, values in self._values.items():
            values[start:stop] = np.ravel(getattr(pixels, term))

    def metrics(self, masks: Sequence[np.ndarray | None]) -> Mapping[str, Mapping[str, float]]:
        """How well the maps find the masks: for each term its `roc_auc` and `aupro`.

        Args:
          masks: boolean `[height, width]` of each image; None for a normal image.
        """
        found: dict[str, Mapping[str, float]] = {}
        for term, values in self._values.items():
            heats = [
                values[start:stop].reshape(size) for (start, stop), size in zip(self._places, self._sizes, strict=True)
            ]
            found[term] = {"roc_auc": pixel_roc_auc(heats, masks), "aupro": per_region_overlap(heats, masks)}
        return found

    def close(self) -> None:
        """Let go of the files, which some systems do not delete while they are mapped."""
        self._values.clear()
