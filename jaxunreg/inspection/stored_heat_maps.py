"""Heat maps of many images, kept in files until all can be compared with the masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from jaxtyping import Int64

from jaxunreg.metrics.pixels import per_region_overlap, pixel_roc_auc

_DTYPE = np.dtype(np.float32)


class StoredHeatMaps:
    """The heat maps of images of known sizes for several scores, float32, with a file for each score.

    The files are read and written, but not mapped into memory: the pages of a mapped file count as memory of the
    process until it ends.

    Args:
      folder: folder for the files. It must exist as long as the object.
      sizes: height and width of each image, `[n, 2]`.
      names: names of the scores.
    """

    def __init__(self, folder: str | Path, sizes: Int64[np.ndarray, "n 2"], names: Sequence[str]) -> None:
        self._maps = {name: _Maps(Path(folder, name), sizes) for name in names}

    def store(self, index: int, pixels: Mapping[str, np.ndarray]) -> None:
        """Store the maps of one image.

        Args:
          index: index of the image.
          pixels: for each score a map `[height, width]`.
        """
        for name, maps in self._maps.items():
            maps.store(index, pixels[name])

    def metrics(self, masks: Sequence[np.ndarray | None]) -> Mapping[str, Mapping[str, float]]:
        """Return how well the maps find the masks: for each score its `roc_auc` and `aupro`.

        Args:
          masks: boolean `[height, width]` of each image; None for a normal image.
        """
        return {
            name: {"roc_auc": pixel_roc_auc(maps, masks), "aupro": per_region_overlap(maps, masks)}
            for name, maps in self._maps.items()
        }


class _Maps(Sequence[np.ndarray]):
    """Heat maps in a file, which are read when they are used."""

    def __init__(self, path: Path, sizes: Int64[np.ndarray, "n 2"]) -> None:
        self._path = path
        self._sizes = [(height, width) for height, width in sizes.tolist()]
        self._starts = (np.cumsum(sizes.prod(axis=1)) - sizes.prod(axis=1)).tolist()
        path.touch()

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[np.ndarray]: ...

    def __getitem__(self, index: int | slice) -> np.ndarray | Sequence[np.ndarray]:
        if isinstance(index, slice):
            return [self[k] for k in range(len(self))[index]]
        size = self._sizes[index]
        start = self._starts[index] * _DTYPE.itemsize
        return np.fromfile(self._path, _DTYPE, count=size[0] * size[1], offset=start).reshape(size)

    def store(self, index: int, heat: np.ndarray) -> None:
        with self._path.open("r+b") as file:
            file.seek(self._starts[index] * _DTYPE.itemsize)
            np.ascontiguousarray(heat, _DTYPE).tofile(file)
