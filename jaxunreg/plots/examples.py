"""Several images with their heat maps."""

from collections.abc import Sequence

import matplotlib.style
import numpy as np
from jaxtyping import Bool, Float, Num
from matplotlib.figure import Figure

from jaxunreg.errors import ArgumentError
from jaxunreg.images import to_float
from jaxunreg.plots.heat_colors import as_rgb, blend, draw_heat_bar, heat_norm, outline_defect, outline_region
from jaxunreg.plots.style import ANOMALOUS, DPI, NORMAL, PAGE_WIDTH, STYLE
from jaxunreg.signatures import checked

_COLUMNS = 4

# Greatest height of an image, as a multiple of the width of its column.
_TALLEST = 1.35


@checked
@matplotlib.style.context(STYLE)
def heat_map_examples(
    images: Sequence[Num[np.ndarray, "_ _ _"]],
    heats: Sequence[Float[np.ndarray, "_ _"]],
    masks: Sequence[Bool[np.ndarray, "_ _"] | None],
    captions: Sequence[tuple[str, bool]],
    *,
    scale: tuple[float, float],
    title: str,
    label: str,
    mark: float | None = None,
    counted: Sequence[Bool[np.ndarray, "_ _"] | None] | None = None,
    regions: Sequence[Sequence[Bool[np.ndarray, "_ _"]]] | None = None,
) -> Figure:
    """Draw several images, and below each its heat map over the image in gray, with the defects outlined.

    Args:
      images: see `heat_map_overlay`.
      heats: heat map of each image.
      masks: mask of each image, if it is known.
      captions: caption of each image, and whether the detector calls it anomalous.
      scale: see `heat_map_overlay`.
      title: title of the figure.
      label: label of the colour bar.
      mark: see `heat_map_overlay`.
      counted: counted pixels of each image, see `heat_map_overlay`.
      regions: regions of each image, see `heat_map_overlay`.

    Returns:
      A figure with two axes an image and a colour bar.

    Raises:
      ArgumentError: there is no image, the numbers of heats, masks or captions differ from it, or the scale is empty.

    >>> import numpy as np
    >>> image = np.zeros((40, 60, 1), np.uint8)
    >>> captions = [("crack", True), ("good", False)]
    >>> figure = heat_map_examples([image] * 2, [image[..., 0] + 0.5] * 2, [None] * 2, captions, scale=(0.0, 9.0),
    ...                            title="Examples", label="M, nats a pixel")
    >>> len(figure.axes)
    5
    """
    if len(images) == 0:
        raise ArgumentError("no images", "at least one", "choose images to show")
    counts = {"heats": len(heats), "masks": len(masks), "captions": len(captions)}
    counted = [None] * len(images) if counted is None else counted
    regions = [()] * len(images) if regions is None else regions
    counts |= {"counted": len(counted), "regions": len(regions)}
    if set(counts.values()) != {len(images)}:
        raise ArgumentError(f"{len(images)} images with {counts}", "one of each for each image", "leave none out")
    norm = heat_norm(scale)
    side, gap, caption_room, above, below = 0.12, 0.1, 0.24, 0.5, 0.62
    columns = min(_COLUMNS, len(images))
    blocks = [range(start, min(start + columns, len(images))) for start in range(0, len(images), columns)]
    width = (PAGE_WIDTH - 2 * side - (columns - 1) * gap) / columns
    # Each fits a cell of one width, and is not much taller than wide.
    shapes = [
        np.array(image.shape[:2]) * min(width / image.shape[1], _TALLEST * width / image.shape[0]) for image in images
    ]
    heights = [max(shapes[k][0] for k in block) for block in blocks]
    total = above + sum(caption_room + 2 * height + gap for height in heights) + below
    figure = Figure(figsize=(PAGE_WIDTH, total), dpi=DPI)
    figure.suptitle(title, y=1 - 0.1 / total, va="top", parse_math=False)
    top = total - above
    for block, height in zip(blocks, heights, strict=True):
        top -= caption_room
        for column, k in enumerate(block):
            left, (own, across) = side + column * (width + gap), shapes[k]
            pixels = np.asarray(to_float(images[k]))
            pictures = (as_rgb(pixels), blend(pixels, norm, heats[k], counted[k]))
            for picture, bottom in zip(pictures, (top - own, top - own - 0.03 - own), strict=True):
                axes = figure.add_axes((left / PAGE_WIDTH, bottom / total, across / PAGE_WIDTH, own / total))
                axes.imshow(picture, aspect="auto")
                axes.set_axis_off()
                outline_defect(axes, masks[k])
                for region in regions[k]:
                    outline_region(axes, region)
            caption, is_anomalous = captions[k]
            color = ANOMALOUS if is_anomalous else NORMAL
            figure.text(left / PAGE_WIDTH, (top + 0.05) / total, caption, fontsize=9, color=color, parse_math=False)
        top -= 2 * height + gap
    draw_heat_bar(figure.add_axes((0.25, 0.42 / total, 0.5, 0.1 / total)), norm, label, mark, horizontal=True)
    return figure
