"""The masks for fitting a detector: checks that they fit its images, and their record."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxunreg.errors import ArgumentError
from jaxunreg.inspection.counting import fits
from jaxunreg.inspection.named_regions import check_mask
from jaxunreg.inspection.normal_images import NormalImages
from jaxunreg.inspection.region_to_tell import RegionToTell
from jaxunreg.serialization import fingerprint


def check_masks(
    normal: NormalImages, ignored: np.ndarray | None, named_regions: Mapping[str, RegionToTell] | None
) -> None:
    """Refuse masks that do not fit the images, before anything is learned.

    Args:
      normal: the images.
      ignored: mask of the pixels that do not count, or None.
      named_regions: regions with their own thresholds, or None.

    Raises:
      ArgumentTypeError: a mask is not an array of truth values.
      ArgumentError: a mask marks nothing, or its aspect ratio differs from that of an image.
    """
    masks = {} if ignored is None else {"the ignored area": ignored}
    masks |= {f"the mask of region {name!r}": region.mask for name, region in (named_regions or {}).items()}
    for what, mask in masks.items():
        check_mask(what, mask)
        height, width = mask.shape
        odd = np.flatnonzero(~fits((height, width), normal.sizes))
        if odd.size:
            more = f" (and {odd.size - 1} more)" if odd.size > 1 else ""
            raise ArgumentError(
                f"{normal.names[odd[0]]} of {normal.sizes[odd[0], 0]}x{normal.sizes[odd[0], 1]}{more} for {what} of "
                f"{height}x{width}",
                "sides of the same ratio",
                "draw the mask over an image of this camera, or leave images of others out",
                field="images",
            )


def masks_record(ignored: np.ndarray | None, named_regions: Mapping[str, RegionToTell] | None) -> dict[str, Any]:
    """Return notes on masks, so that a detector with other masks is not taken for this one; nothing without masks."""
    if ignored is None and not named_regions:
        return {}
    regions = {
        name: {"mask": fingerprint(region.mask), "false_positive_rate": region.false_positive_rate}
        for name, region in (named_regions or {}).items()
    }
    return {"masks": {"ignored": None if ignored is None else fingerprint(ignored), "named_regions": regions}}


def share_of(top_k: int, ignored: np.ndarray | None) -> int:
    """Return the number of places in the mean of an image's score if some do not count: the same share of the others.

    >>> share_of(46, None), share_of(46, np.eye(2, dtype=bool))
    (46, 23)
    """
    return top_k if ignored is None else max(1, round(top_k * float(1.0 - ignored.mean())))
