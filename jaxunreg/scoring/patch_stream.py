"""Functions of patches, mapped over every patch of many images of any sizes in bounded memory."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Int

from jaxunreg.errors import ArgumentError
from jaxunreg.scoring.patches import PatchGrid, check_stride, patch_grid
from jaxunreg.scoring.until_error import UntilError, one_behind

PatchFunction: TypeAlias = Callable[[np.ndarray], Any]
"""A function from patches `[n, height, width, channels]` to a pytree of arrays with a leading axis of `n`."""


class StreamedMaps(NamedTuple):
    """The results of a function of patches for one image.

    Attributes:
      by_patch: pytree of NumPy arrays `[rows, columns, ...]`.
      by_pixel: pytree of float64 arrays `[height, width]`, the mean over the patches that cover a pixel.
      grid: places of the patches.
    """

    by_patch: Any
    by_pixel: Any
    grid: PatchGrid


class _CallPart(NamedTuple):
    """The patches of one image in one call."""

    grid: PatchGrid
    size: tuple[int, int]
    corners: Int[np.ndarray, "n 2"]
    last: bool


def map_patches(
    function: PatchFunction,
    images: Iterable[Array | np.ndarray],
    *,
    patch: tuple[int, int],
    stride: int,
    patches_a_call: int,
) -> Iterator[Any]:
    """Map a function of patches over every patch of images of any sizes, in bounded memory.

    A call takes patches of several images if one image does not fill it. So all calls but the last have the same number
    of patches, and a compiled function compiles once for them, for any number and sizes of images.

    Args:
      function: a function of patches `[n, *patch, channels]`, `n` at most `patches_a_call`. It may return arrays that a
        device is still computing.
      images: `[height, width, channels]` each, in one dtype. They are read one after another.
      patch: height and width of a patch.
      stride: pixels from one patch to the next, as for `patch_grid`.
      patches_a_call: number of patches in a call of `function`.

    Yields:
      For each image, in order, the function's results as NumPy arrays `[rows, columns, ...]`.

    Raises:
      ArgumentError: the errors of `patch_grid`; images of several dtypes or numbers of channels.

    >>> import numpy as np
    >>> images = [np.ones((4, 6, 1), np.uint8), np.zeros((4, 4, 1), np.uint8)]
    >>> def mean(patches):
    ...     return patches.mean(axis=(1, 2, 3))
    >>> [maps.tolist() for maps in map_patches(mean, images, patch=(4, 4), stride=1, patches_a_call=2)]
    [[[1.0, 1.0, 1.0]], [[0.0]]]
    """
    streamed = stream_maps(
        lambda patches: (function(patches), ()), images, patch=patch, stride=stride, patches_a_call=patches_a_call
    )
    for maps in streamed:
        yield maps.by_patch


def average_patches(
    function: PatchFunction,
    images: Iterable[Array | np.ndarray],
    *,
    patch: tuple[int, int],
    stride: int,
    patches_a_call: int,
) -> Iterator[Any]:
    """Average a function's values for the pixels of patches, for each pixel over the patches that cover it.

    Args:
      function: maps patches `[n, *patch, channels]` to a pytree of `[n, *patch]`; as for `map_patches`.
      images: as for `map_patches`.
      patch: as for `map_patches`.
      stride: pixels from one patch to the next, at most the size of a patch, so that every pixel is covered.
      patches_a_call: as for `map_patches`.

    Yields:
      For each image, in order, a pytree of float64 `[height, width]`.

    Raises:
      ArgumentError: the errors of `map_patches`; also a stride that skips pixels.

    >>> import numpy as np
    >>> image = np.arange(5.0).reshape(1, 5, 1)
    >>> [same] = average_patches(lambda patches: patches[..., 0], [image], patch=(1, 2), stride=1, patches_a_call=9)
    >>> same.tolist()
    [[0.0, 1.0, 2.0, 3.0, 4.0]]
    """
    check_stride("stride", stride, min(patch))
    streamed = stream_maps(
        lambda patches: ((), function(patches)), images, patch=patch, stride=stride, patches_a_call=patches_a_call
    )
    for maps in streamed:
        yield maps.by_pixel


def stream_maps(
    function: Callable[[np.ndarray], tuple[Any, Any]],
    images: Iterable[Array | np.ndarray],
    *,
    patch: tuple[int, int],
    stride: int,
    patches_a_call: int,
) -> Iterator[StreamedMaps]:
    """Do `map_patches` and `average_patches` in one pass over the patches.

    Args:
      function: maps patches `[n, *patch, channels]` to two pytrees: arrays `[n, ...]` to map, and arrays `[n, *patch]`
        to average. Either may be empty.
      images: as for `map_patches`.
      patch: as for `map_patches`.
      stride: as for `map_patches`; if there is something to average, at most the size of a patch.
      patches_a_call: as for `map_patches`.

    Yields:
      For each image, in order, both kinds of maps.

    Raises:
      ArgumentError: the errors of `map_patches`.

    >>> import numpy as np
    >>> image = np.arange(4.0).reshape(1, 4, 1)
    >>> [maps] = stream_maps(
    ...     lambda patches: (patches.sum(axis=(1, 2, 3)), patches[..., 0]), [image], patch=(1, 2), stride=2,
    ...     patches_a_call=9,
    ... )
    >>> maps.by_patch.tolist(), maps.by_pixel.tolist()
    ([[1.0, 5.0]], [[0.0, 1.0, 2.0, 3.0]])
    """
    pieces: list[Any] = []
    totals: list[np.ndarray] = []
    for part, (by_patch, by_pixel) in _by_part(function, _calls(images, patch, stride, patches_a_call)):
        pieces.append(by_patch)
        leaves, structure = jax.tree.flatten(by_pixel)
        totals = totals or [np.zeros(part.size) for _ in leaves]
        for total, leaf in zip(totals, leaves, strict=True):
            for (row, column), values in zip(part.corners, leaf, strict=True):
                total[row : row + patch[0], column : column + patch[1]] += values
        if part.last:
            coverage = part.grid.coverage(*part.size)
            averages = jax.tree.unflatten(structure, [total / coverage for total in totals])
            yield StreamedMaps(_as_maps(pieces, part.grid.shape), averages, part.grid)
            pieces, totals = [], []


def _as_maps(pieces: list[Any], shape: tuple[int, int]) -> Any:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves).reshape(*shape, *leaves[0].shape[1:]), *pieces)


def _calls(
    images: Iterable[Array | np.ndarray], patch: tuple[int, int], stride: int, patches_a_call: int
) -> Iterator[tuple[list[_CallPart], np.ndarray]]:
    """Yield the patches of every call, and the images they belong to."""
    parts: list[_CallPart] = []
    patches: list[np.ndarray] = []
    room = patches_a_call
    cut = UntilError(_with_grid(images, patch, stride))
    for pixels, grid in cut:
        windows = np.lib.stride_tricks.sliding_window_view(pixels, patch, axis=(0, 1))
        all_corners = grid.corners
        for start in _starts(len(all_corners), room, patches_a_call):
            corners = all_corners[start : start + room]
            patches.append(np.moveaxis(windows[corners[:, 0], corners[:, 1]], 1, -1))
            parts.append(_CallPart(grid, pixels.shape[:2], corners, last=start + len(corners) == len(all_corners)))
            room -= len(corners)
            if room == 0:
                yield parts, np.concatenate(patches)
                parts, patches, room = [], [], patches_a_call
    if parts:
        yield parts, np.concatenate(patches)
    cut.raise_error()


def _with_grid(
    images: Iterable[Array | np.ndarray], patch: tuple[int, int], stride: int
) -> Iterator[tuple[np.ndarray, PatchGrid]]:
    """Yield each image and the places of its patches, after checking that it is like the images before it."""
    kind = None
    for k, image in enumerate(images):
        pixels = np.asarray(image)
        grid = patch_grid(*pixels.shape[:2], patch=patch, stride=stride)
        kind = kind or (pixels.dtype, pixels.shape[2])
        if (pixels.dtype, pixels.shape[2]) != kind:
            raise ArgumentError(
                f"image {k} of dtype {pixels.dtype} with {pixels.shape[2]} channels after {kind[0]} with {kind[1]}",
                "one kind",
                "convert them all",
                field="images",
            )
        yield pixels, grid


def _starts(length: int, first: int, rest: int) -> Iterator[int]:
    """Return where an image's patches are split into calls. The first part fills the call that has begun."""
    yield 0
    yield from range(first, length, rest)


def _by_part(
    function: PatchFunction, calls: Iterable[tuple[list[_CallPart], np.ndarray]]
) -> Iterator[tuple[_CallPart, Any]]:
    """Yield the function's results, image by image, as NumPy arrays."""
    for parts, results in one_behind((parts, function(patches)) for parts, patches in calls):
        yield from _taken_apart(parts, results)


def _taken_apart(parts: list[_CallPart], results: Any) -> Iterator[tuple[_CallPart, Any]]:
    leaves, structure = jax.tree.flatten(jax.tree.map(np.asarray, results))
    start = 0
    for part in parts:
        stop = start + len(part.corners)
        yield part, jax.tree.unflatten(structure, [leaf[start:stop] for leaf in leaves])
        start = stop
