"""The pixels that a mask marks, for masks of any program and format."""

from typing import NoReturn

import numpy as np
from jaxtyping import Bool, Num

from jaxunreg.datasets.folders.hashed_file import HashedFile
from jaxunreg.datasets.folders.pixels import decode
from jaxunreg.datasets.folders.unusable import ImageFileError

# Soft edges have more shades than this, while classes are numbered from 1.
_MOST_CLASS_NUMBER = 31
# Compression leaves more values than this. Classes, and edges that were smoothed once, have fewer.
_MOST_LEVELS = 16
# The reach, in pixels, of the steps of an edge with few levels, and of the traces of compression beside an edge.
_EDGE, _BLOCK = 3, 8
# The largest trace of compression far from anything marked, as a share of the highest value.
_TRACES = 0.25
# Below this share, a shade is a class only if it fills an area. Single pixels do not count.
_FAINT = 0.04

_WANTED = "0 for the background and 255 for defects"


def decode_mask(file: HashedFile) -> Bool[np.ndarray, "height width"]:
    """Read a mask once, and find the pixels that it marks.

    | what is in it | what is marked |
    |---|---|
    | two values, such as 0 and 255, 0 and 1, or black and red | the higher |
    | soft edges, or traces of compression | above half of the highest |
    | classes: integers up to 31, or a few shades or colours apart from each other | all that is not 0 |
    | one colour, and an alpha channel | what is more opaque than half of the most opaque |

    In colours, the highest channel counts. Transparent pixels are not marked.

    Raises:
      ImageFileError: the mask cannot be read or decoded, or two of these rules would mark different pixels.
    """
    pixels, alpha = decode(file, alpha=True)
    values = pixels.max(axis=2)
    if alpha is not None:
        visible = pixels[alpha > 0]
        if len(visible) and (visible == visible[0]).all():
            values = alpha
        else:
            values = np.rint(values * (alpha / np.float32(255))) if values.dtype != np.float32 else values * alpha / 255
            values = values.astype(pixels.dtype)
    elif pixels.shape[2] == 3 and values.min() == values.max() and (pixels != pixels[0, 0]).any():
        _refuse(file, "colours that are equally bright, none of which is black")
    return _marked(file, values)


def _marked(file: HashedFile, values: Num[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    highest = values.max()
    marked = values > highest / 2
    low = (values > 0) & ~marked
    if not low.any():
        return marked
    levels = np.flatnonzero(np.bincount(values.ravel())) if values.dtype != np.float32 else np.unique(values)
    if len(levels) == 2:
        return marked
    if values.dtype != np.float32 and highest <= _MOST_CLASS_NUMBER and levels[0] == 0:
        return values > 0
    import scipy.ndimage  # slow to import, and few masks need it

    if len(levels) > _MOST_LEVELS or file.path.suffix.lower() in (".jpg", ".jpeg"):
        parts, count = scipy.ndimage.label(values > _TRACES * highest)
        beside = scipy.ndimage.maximum_filter(marked, 2 * _BLOCK + 1)
        faint = np.flatnonzero(~scipy.ndimage.maximum(beside, parts, range(1, count + 1)))
        if len(faint):
            reached = values[parts == faint[0] + 1].max()
            _refuse(file, f"an area whose values reach {reached:g}, beside others that reach {highest:g}")
        return marked
    if levels[0] != 0:
        _refuse(file, f"the values {', '.join(f'{level:g}' for level in levels)}, none of which is 0")
    beside = scipy.ndimage.maximum_filter(marked, 2 * _EDGE + 1)
    is_flat = scipy.ndimage.minimum_filter(values, 3) == scipy.ndimage.maximum_filter(values, 3)
    of_class = low & ~beside & (is_flat | (values > _FAINT * highest))
    return values > 0 if of_class.any() else marked


def looks_inverted(mask: Bool[np.ndarray, "height width"]) -> bool:
    """Return whether a mask marks most pixels and most of the border, but not all.

    >>> defect = np.zeros((9, 9), bool)
    >>> defect[4, 3:6] = True
    >>> looks_inverted(defect), looks_inverted(~defect)
    (False, True)
    """
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return bool(mask.mean() > 0.5 and border.mean() > 0.5 and not mask.all())


def _refuse(file: HashedFile, what: str) -> NoReturn:
    raise ImageFileError(
        file.path,
        f"is a mask with {what}, so that classes cannot be told from soft edges or a background",
        _WANTED,
        "write it so",
    )
