"""Baselines on images that are larger than a patch: what they are fitted on, and how they score."""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Array, Float64

from jaxunreg.baselines.detector import Detector, check_integer
from jaxunreg.images import check_images
from jaxunreg.patches import PatchGrid, patch_grid

# Patches given to a detector at once, of one image or of several: 9 MB of 96x96 in uint8, 38 MB in float32.
_BATCH = 1024


def sample_patches(
    images: Iterable[np.ndarray | Array], *, patch: tuple[int, int], per_image: int = 10, seed: int = 0
) -> np.ndarray:
    """Patches from random places of each image, to fit a baseline on (section V.B: ten an image).

    Every place where a patch lies inside the image is as likely as any other, and patches may overlap. The same
    seed and images give the same patches.

    Args:
      images: `[height, width, channels]` each, of any size, but one dtype and number of channels; uint8, or
        floating point in [0, 1]. May be a generator: one image is held at a time.
      patch: height and width of a patch.
      per_image: patches an image.
      seed: not negative.

    Returns:
      `[N * per_image, *patch, channels]` in the dtype of the images, image after image.

    Raises:
      TypeError: images of another dtype than uint8 or floating point, or of several.
      ValueError: no images, an image smaller than a patch, of another number of channels than the first, not
        finite or out of range; `per_image` below one or `seed` below zero.

    >>> images = [np.full((20 + i, 30, 1), i, np.uint8) for i in range(3)]
    >>> sample_patches(images, patch=(8, 8), per_image=2)[:, 0, 0, 0].tolist()
    [0, 0, 1, 1, 2, 2]
    """
    check_integer("per_image", per_image, at_least=1)
    check_integer("seed", seed, at_least=0)
    rng = np.random.default_rng(seed)
    patches: list[np.ndarray] = []
    for i, image in enumerate(images):
        array, _ = _checked(i, image, patch, stride=1)
        if patches and (array.dtype, array.shape[-1]) != (patches[0].dtype, patches[0].shape[-1]):
            raise (TypeError if array.dtype != patches[0].dtype else ValueError)(
                f"image {i} has dtype {array.dtype} and {array.shape[-1]} channels, expected {patches[0].dtype} and "
                f"{patches[0].shape[-1]} as the first; convert the images to one kind"
            )
        rows = rng.integers(array.shape[0] - patch[0] + 1, size=per_image)
        columns = rng.integers(array.shape[1] - patch[1] + 1, size=per_image)
        patches.append(_cut(array, np.stack([rows, columns], axis=1), patch))
    if not patches:
        raise ValueError("there are no images, expected at least one")
    return np.concatenate(patches)


def score_patches(
    detector: Detector, image: np.ndarray | Array, *, patch: tuple[int, int], stride: int
) -> dict[str, Float64[np.ndarray, "rows columns"]]:
    """A detector's scores of the patches of one image of any size: its heat map over the patch grid (Fig. 11).

    Args:
      detector: fitted on patches of this size.
      image: `[height, width, channels]`, uint8 or floating point in [0, 1].
      patch: height and width of a patch.
      stride: pixels from one patch to the next; the last are aligned to the border.

    Returns:
      By name, as `detector.scores`: float64 `[rows, columns]` of the grid that `jaxunreg.patches.patch_grid` has.

    Raises:
      TypeError: an image of another dtype.
      ValueError: an image smaller than a patch, of another number of channels than the detector's, not finite
        or out of range; a stride below one; a patch of another size than the detector's.

    >>> from jaxunreg.baselines import PCAResidual, PCAResidualConfig
    >>> image = np.random.default_rng(0).integers(0, 50, (40, 60, 1), dtype=np.uint8)
    >>> fitted = PCAResidual(PCAResidualConfig(n_components=5)).fit(sample_patches([image] * 9, patch=(8, 8)))
    >>> image[30:33, 50:53] = 255
    >>> scores = score_patches(fitted, image, patch=(8, 8), stride=4)["score"]
    >>> scores.shape, [int(i) for i in np.unravel_index(scores.argmax(), scores.shape)]
    ((9, 14), [7, 12])
    """
    return next(_maps(detector, [image], patch, stride))


def image_scores(
    detector: Detector,
    images: Iterable[np.ndarray | Array],
    *,
    patch: tuple[int, int],
    stride: int,
    top_k: int = 1,
) -> dict[str, Float64[np.ndarray, "n"]]:
    """A detector's score of each image: that of its most anomalous patch, or the mean of the `top_k` most anomalous.

    Patches of several images are scored together, so that small images cost no more than large ones.

    Args:
      detector: fitted on patches of this size.
      images: `[height, width, channels]` each, of any size, but one dtype and number of channels; uint8, or
        floating point in [0, 1]. May be a generator; memory is bounded by one image and a batch of patches.
      patch: height and width of a patch.
      stride: pixels from one patch to the next; the last are aligned to the border.
      top_k: how many patches; of each score by itself.

    Returns:
      By name, as `detector.scores`: float64 `[N]`; higher is more anomalous.

    Raises:
      TypeError: images of another dtype.
      ValueError: no images, or one as `score_patches` refuses; fewer patches in an image than `top_k`, or `top_k`
        below one.

    >>> from jaxunreg.baselines import PCAResidual, PCAResidualConfig
    >>> images = np.random.default_rng(0).integers(0, 50, (9, 20, 30, 1), dtype=np.uint8)
    >>> fitted = PCAResidual(PCAResidualConfig(n_components=5)).fit(sample_patches(images, patch=(8, 8)))
    >>> images[3, 10, 10] = 255
    >>> int(image_scores(fitted, images, patch=(8, 8), stride=4)["score"].argmax())
    3
    """
    check_integer("top_k", top_k, at_least=1)
    scores: dict[str, list[float]] = {}
    for i, maps in enumerate(_maps(detector, images, patch, stride)):
        for name, grid in maps.items():
            if top_k > grid.size:
                raise ValueError(
                    f"top_k is {top_k}, expected at most the {grid.size} patches of image {i}; lower top_k or stride"
                )
            scores.setdefault(name, []).append(float(np.partition(grid.ravel(), -top_k)[-top_k:].mean()))
    if not scores:
        raise ValueError("there are no images, expected at least one")
    return {name: np.array(values, dtype=np.float64) for name, values in scores.items()}


def _maps(
    detector: Detector, images: Iterable[np.ndarray | Array], patch: tuple[int, int], stride: int
) -> Iterator[dict[str, np.ndarray]]:
    """Scores over the patch grid, image after image, though a batch may hold patches of several."""
    grids: list[PatchGrid] = []
    scored: dict[str, np.ndarray] = {}
    for batch in _batches(images, patch, stride, grids):
        for name, scores in detector.scores(batch).items():
            scored[name] = np.append(scored.get(name, np.empty(0)), scores)
        while grids and len(next(iter(scored.values()))) >= len(grids[0].corners):
            grid = grids.pop(0)
            count = len(grid.corners)
            yield {name: scores[:count].reshape(grid.shape) for name, scores in scored.items()}
            scored = {name: scores[count:] for name, scores in scored.items()}


def _batches(
    images: Iterable[np.ndarray | Array], patch: tuple[int, int], stride: int, grids: list[PatchGrid]
) -> Iterator[np.ndarray]:
    """The patches of all images, `_BATCH` at a time; every image's grid is appended to `grids` as it begins."""
    pending: list[np.ndarray] = []
    count = 0
    for i, image in enumerate(images):
        array, grid = _checked(i, image, patch, stride)
        if pending and (array.dtype, array.shape[-1]) != (pending[0].dtype, pending[0].shape[-1]):
            yield np.concatenate(pending)
            pending, count = [], 0
        grids.append(grid)
        corners = grid.corners
        while len(corners):
            taken, corners = corners[: _BATCH - count], corners[_BATCH - count :]
            pending.append(_cut(array, taken, patch))
            count += len(taken)
            if count == _BATCH:
                yield np.concatenate(pending)
                pending, count = [], 0
    if pending:
        yield np.concatenate(pending)


def _checked(i: int, image: np.ndarray | Array, patch: tuple[int, int], stride: int) -> tuple[np.ndarray, PatchGrid]:
    try:
        check_images(image, (None, None, None))
        return np.asarray(image), patch_grid(*image.shape[:2], patch=patch, stride=stride)
    except (TypeError, ValueError) as error:
        raise type(error)(f"image {i}: {error}") from error


def _cut(image: np.ndarray, corners: np.ndarray, patch: tuple[int, int]) -> np.ndarray:
    patches = np.empty((len(corners), *patch, image.shape[-1]), image.dtype)
    for target, (row, column) in zip(patches, corners, strict=True):
        target[...] = image[row : row + patch[0], column : column + patch[1]]
    return patches
