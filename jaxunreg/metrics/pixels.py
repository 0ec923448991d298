"""How well a heat map finds the anomalous pixels of a mask: pixel ROC AUC and per-region overlap."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxunreg.doors import given_array
from jaxunreg.errors import ArgumentError, ArgumentTypeError, argument
from jaxunreg.signatures import checked


class OverlapCurve(NamedTuple):
    """Mean per-region overlap against the false-positive rate, from (0, 0) to (1, 1).

    Attributes:
      fpr: share of normal pixels at or above the threshold, float64 `[points]`, ascending.
      overlap: mean over the regions of the share of their pixels at or above it, float64 `[points]`, ascending.
    """

    fpr: np.ndarray
    overlap: np.ndarray


@checked
def pixel_roc_auc(maps: Sequence[ArrayLike], masks: Sequence[ArrayLike | None]) -> float:
    """Return the area under the ROC curve of the pixels of all images together.

    `AUC = P(anomalous > normal) + 1/2 P(anomalous = normal)` over all pairs of an anomalous and a normal pixel,
    of the same image or of two. The value is exact: every pixel counts, and ties count half. A large defect weighs more
    than many small ones; `per_region_overlap` gives every defect the same weight.

    It takes the time and memory of sorting a copy of all pixels once: 500 maps of 400x400 in float32 take 320 MB beside
    the maps.

    Args:
      maps: a heat map `[height, width]` of each image, of any size; higher is more anomalous. Infinite scores
        are ordered as usual.
      masks: boolean `[height, width]` of each image, True where it is anomalous; None for a normal image.

    Returns:
      0.5 for chance, 1 where every anomalous pixel scores higher than every normal one.

    Raises:
      ArgumentTypeError: a map that does not hold real numbers, or a mask that is not boolean.
      ArgumentError: maps and masks differ in number or in shape; a map is empty, not two-dimensional or holds NaN;
        there is no normal pixel, or no anomalous one.

    >>> maps = np.array([[0.0, 1.0], [2.0, 9.0]]), np.zeros((1, 3))
    >>> masks = np.array([[False, False], [True, True]]), None
    >>> pixel_roc_auc(maps, masks)
    1.0
    """
    normal, anomalous, _ = _split(maps, masks)
    normal.sort()
    anomalous.sort()
    # Twice the wins, in integers: a tie is half a win without any rounding.
    twice = int(np.searchsorted(normal, anomalous, side="left").sum(dtype=np.int64))
    twice += int(np.searchsorted(normal, anomalous, side="right").sum(dtype=np.int64))
    return twice / (2 * len(normal) * len(anomalous))


@checked
def per_region_overlap_curve(maps: Sequence[ArrayLike], masks: Sequence[ArrayLike | None]) -> OverlapCurve:
    """Return the mean overlap with the anomalous regions against the false-positive rate, over all thresholds.

    A region is a connected component of a mask. Pixels that touch at a corner are connected. With `C_k` the regions of
    all images, `K` of them, and `P_t` the pixels that score at least `t`,

        overlap(t) = 1/K sum_k |P_t & C_k| / |C_k|,    fpr(t) = |P_t & normal| / |normal|,

    where the normal pixels are those of all images, including normal images.

    Args:
      maps: a heat map `[height, width]` of each image, as for `pixel_roc_auc`.
      masks: boolean `[height, width]` of each image, or None, as for `pixel_roc_auc`.

    Returns:
      The corners of the curve, which is straight between them. A score that normal and anomalous pixels share adds
      both kinds at once.

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `pixel_roc_auc`.

    References:
      Bergmann, P. et al. The MVTec Anomaly Detection Dataset. IJCV 129, 2021.

    >>> curve = per_region_overlap_curve([[[5.0, 4.0, 1.0, 3.0]]], [[[True, True, False, False]]])
    >>> list(zip(curve.fpr.tolist(), curve.overlap.tolist()))
    [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
    """
    normal, anomalous, weights = _split(maps, masks)
    normal.sort()
    order = np.argsort(anomalous)
    anomalous, weights = anomalous[order], weights[order]
    # The last of each run of equal scores, ascending, and the overlap gained at or below each score.
    last = np.append(np.flatnonzero(anomalous[1:] != anomalous[:-1]), len(anomalous) - 1)
    scores, below_or_at = anomalous[last], np.cumsum(weights)[last]
    above = np.append(below_or_at[-1] - below_or_at[:-1], 0.0)
    at_or_above = below_or_at[-1] - np.append(0.0, below_or_at[:-1])
    # Descending: for each score the point before its pixels are taken, and the one after.
    count = len(normal)
    before = count - np.searchsorted(normal, scores, side="right")[::-1]
    after = count - np.searchsorted(normal, scores, side="left")[::-1]
    fpr = np.concatenate([[0], np.stack([before, after], axis=1).ravel(), [count]]) / count
    overlap = np.concatenate([[0.0], np.stack([above[::-1], at_or_above[::-1]], axis=1).ravel(), [1.0]])
    # Points inside a vertical stretch are left out: hundreds of anomalous pixels lie between two normal ones.
    kept = np.concatenate([[True], (fpr[1:-1] != fpr[:-2]) | (fpr[1:-1] != fpr[2:]), [True]])
    return OverlapCurve(fpr[kept], np.minimum(overlap[kept], 1.0))


@checked
def per_region_overlap(maps: Sequence[ArrayLike], masks: Sequence[ArrayLike | None], *, max_fpr: float = 0.3) -> float:
    """Return the area under the per-region overlap curve up to a false-positive rate, over that rate (AUPRO).

    A segmentation that marks more than a third of the normal pixels is useless, so the curve is cut at `max_fpr`, by
    linear interpolation. A perfect map reaches 1; a constant or random one reaches `max_fpr / 2`.

    Args:
      maps: a heat map `[height, width]` of each image, as for `pixel_roc_auc`.
      masks: boolean `[height, width]` of each image, or None, as for `pixel_roc_auc`.
      max_fpr: the false-positive rate to integrate up to, in (0, 1].

    Returns:
      A number in [0, 1].

    Raises:
      ArgumentError, ArgumentTypeError: the errors of `pixel_roc_auc`; also a `max_fpr` out of its range.

    References:
      Bergmann, P. et al. The MVTec Anomaly Detection Dataset. IJCV 129, 2021. It calls this AUPRO.

    >>> per_region_overlap([[[0.0, 0.0, 0.0, 0.0]]], [[[True, False, False, False]]])
    0.15
    """
    if not 0.0 < max_fpr <= 1.0:
        raise ArgumentError(argument("max_fpr", max_fpr), "a number in (0, 1], e.g. 0.3")
    fpr, overlap = per_region_overlap_curve(maps, masks)
    inside = int(np.searchsorted(fpr, max_fpr, side="right"))
    x, y = fpr[:inside], overlap[:inside]
    if inside < len(fpr):
        share = (max_fpr - x[-1]) / (fpr[inside] - x[-1])
        x, y = np.append(x, max_fpr), np.append(y, y[-1] + share * (overlap[inside] - y[-1]))
    return float(np.trapezoid(y, x) / max_fpr)


def _split(maps: Sequence[ArrayLike], masks: Sequence[ArrayLike | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scores of the normal and of the anomalous pixels, and the weight of the latter in the mean overlap.

    The arrays are new and in no order. Scores have the maps' common dtype, at least float32; weights are float64 and
    sum to one.
    """
    if len(maps) != len(masks):
        raise ArgumentError(
            f"{len(maps)} maps and {len(masks)} masks", "one mask a map", "give None for a normal image", "masks"
        )
    dtype, pixels, n_anomalous = np.dtype(np.float32), 0, 0
    for heat, mask in _checked(maps, masks):
        dtype = np.promote_types(dtype, heat.dtype)
        pixels += heat.size
        n_anomalous += 0 if mask is None else int(np.count_nonzero(mask))
    if n_anomalous == 0:
        raise ArgumentError(
            f"{len(maps)} masks without an anomalous pixel", "at least one", "give masks of defects", "masks"
        )
    if n_anomalous == pixels:
        raise ArgumentError(
            f"{len(maps)} masks without a normal pixel", "at least one", "invert the masks if 1 means normal", "masks"
        )

    import scipy.ndimage  # slow to import, and no score needs it

    normal, anomalous = np.empty(pixels - n_anomalous, dtype), np.empty(n_anomalous, dtype)
    weights = np.empty(n_anomalous)
    n_regions = n_filled = a_filled = 0
    for heat, mask in _checked(maps, masks):
        outside = heat.ravel() if mask is None else heat[~mask]
        normal[n_filled : n_filled + outside.size] = outside
        n_filled += outside.size
        if mask is None:
            continue
        labels, regions = scipy.ndimage.label(mask, structure=np.ones((3, 3), bool))
        inside = labels[mask]
        anomalous[a_filled : a_filled + inside.size] = heat[mask]
        weights[a_filled : a_filled + inside.size] = 1.0 / np.bincount(inside, minlength=1)[inside]
        a_filled += inside.size
        n_regions += regions
    return normal, anomalous, weights / n_regions


def _checked(
    maps: Sequence[ArrayLike], masks: Sequence[ArrayLike | None]
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    for i, (any_map, any_mask) in enumerate(zip(maps, masks, strict=True)):
        heat = given_array("maps", any_map, f"map {i}")
        if not (np.issubdtype(heat.dtype, np.floating) or np.issubdtype(heat.dtype, np.integer)):
            raise ArgumentTypeError(f"dtype {heat.dtype} of map {i}", "real numbers", field="maps")
        if heat.ndim != 2 or heat.size == 0:
            raise ArgumentError(f"shape {heat.shape} of map {i}", "one score a pixel, [height, width]", field="maps")
        if np.isnan(heat).any():
            raise ArgumentError(
                f"{int(np.isnan(heat).sum())} of {heat.size} pixels of map {i} that are NaN",
                "numbers, since NaN has no rank",
                field="maps",
            )
        if any_mask is None:
            yield heat, None
            continue
        mask = given_array("masks", any_mask, f"mask {i}")
        if mask.dtype != np.bool_:
            raise ArgumentTypeError(f"dtype {mask.dtype} of mask {i}", "bool", "give e.g. mask > 0", "masks")
        if mask.shape != heat.shape:
            raise ArgumentError(
                f"shape {mask.shape} of mask {i} for a map of shape {heat.shape}", "the same shape", field="masks"
            )
        yield heat, mask
