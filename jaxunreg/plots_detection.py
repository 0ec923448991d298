"""What a detector shows: heat maps over their images, and where the scores lie about the threshold."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.style
import numpy as np
from jaxtyping import Bool, Float, Num
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jaxunreg.detector import LETTERS, AnomalyDetector, ImageVerdict
from jaxunreg.images import to_float
from jaxunreg.plots import ANOMALOUS, NORMAL, STYLE

_COLORMAP = matplotlib.colormaps["plasma"]
# A cyan that the colours of the heat do not have.
_MARK = "#33BBEE"
_WIDTH = 7.2  # inches
_DPI = 150
_TALLEST = 1.35
_LETTERS_A_LINE, _LETTERS_A_TITLE = 125, 80
# The lowest part of the scale is clear, so that the image is seen as it is where nothing is odd.
_CLEAR, _COVERED, _OPACITY = 0.08, 0.4, 0.85

Box = tuple[int, int, int, int]
"""Top, left, height and width, in pixels."""


@matplotlib.style.context(STYLE)
def heat_map_overlay(
    image: Num[np.ndarray, "height width channels"],
    heat: Float[np.ndarray, "height width"],
    *,
    scale: tuple[float, float],
    title: str,
    verdict: str,
    is_anomalous: bool,
    label: str,
    note: str,
    box: Box | None = None,
    mask: Bool[np.ndarray, "height width"] | None = None,
    mark: float | None = None,
) -> Figure:
    """An image beside its heat map over it in gray, on a scale that all images of a run share.

    The lowest twelfth of the scale is clear. What lies above the scale has its last colour.

    Args:
      image: one channel or three; uint8, or floating point in [0, 1].
      heat: higher is more anomalous.
      scale: the heat of the first and of the last colour.
      title: e.g. the file's name.
      verdict: a line under it, in red if it is anomalous.
      is_anomalous: whether it is.
      label: of the colour bar, with its unit.
      note: a line at the bottom that explains the scale.
      box: of the most anomalous patch, drawn over the image.
      mask: the defect's pixels, outlined on both, if known.
      mark: a heat to be marked in the colour bar.

    Returns:
      A figure with two axes and a colour bar.

    Raises:
      ValueError: a heat map or mask of another size than the image, heat that is not finite, or an empty scale.

    >>> import numpy as np
    >>> image = np.zeros((40, 60, 1), np.uint8)
    >>> text = dict(title="part.png", verdict="normal", is_anomalous=False, label="M, nats a pixel", note="")
    >>> figure = heat_map_overlay(image, image[..., 0] + 0.5, scale=(0.0, 10.0), box=(0, 0, 16, 16), **text)
    >>> len(figure.axes)
    3
    """
    height, width = image.shape[:2]
    for name, values in (("a heat map", heat), ("a mask", mask)):
        if values is not None and values.shape != (height, width):
            raise ValueError(f"got {name} of shape {list(values.shape)}; expected [{height}, {width}], as the image")
    if not np.isfinite(heat).all():
        raise ValueError("got a heat map with NaN or infinite values; expected finite ones")
    norm = _scale(scale)
    lines = textwrap.wrap(note, _LETTERS_A_LINE)
    side, gap, bar_room, above, below = 0.12, 0.12, 0.75, 0.62, 0.22 + 0.15 * len(lines)
    panel_width = (_WIDTH - 2 * side - gap - bar_room) / 2
    panel_height = panel_width * height / width
    total = above + panel_height + below
    figure = Figure(figsize=(_WIDTH, total), dpi=_DPI)
    # The end of a path tells more than its beginning.
    title = title if len(title) <= _LETTERS_A_TITLE else f"…{title[1 - _LETTERS_A_TITLE :]}"
    figure.text(side / _WIDTH, 1 - 0.12 / total, title, va="top", fontsize=11, fontweight="bold", parse_math=False)
    color = ANOMALOUS if is_anomalous else NORMAL
    figure.text(side / _WIDTH, 1 - 0.34 / total, verdict, va="top", fontsize=10, color=color)
    figure.text(side / _WIDTH, 0.1 / total, "\n".join(lines), va="bottom", fontsize=8.5, color="#5A5A5A")

    def place(left: float, panel: float) -> Axes:
        return figure.add_axes((left / _WIDTH, below / total, panel / _WIDTH, panel_height / total))

    original, over = place(side, panel_width), place(side + panel_width + gap, panel_width)
    pixels = np.asarray(to_float(image))
    original.imshow(pixels if pixels.shape[-1] == 3 else _as_rgb(pixels[..., 0]), aspect="auto")
    over.imshow(_blend(pixels, norm, heat), aspect="auto")
    for axes in (original, over):
        axes.set_axis_off()
        _outline(axes, mask)
    if box is not None:
        top, left, box_height, box_width = box
        original.add_patch(
            Rectangle((left - 0.5, top - 0.5), box_width, box_height, fill=False, edgecolor=color, linewidth=1.2)
        )
    axes = place(side + 2 * panel_width + gap + 0.1, 0.12)
    _finish_bar(figure.colorbar(ScalarMappable(norm, _COLORMAP), cax=axes, extend="max"), label)
    if mark is not None:
        axes.axhline(mark, color=_MARK, linewidth=1.4)
    return figure


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
) -> Figure:
    """Several images, each above its heat map over it in gray, with the defects outlined.

    Args:
      images: see `heat_map_overlay`.
      heats: of each image.
      masks: of each image, where it is known.
      captions: of each image, and whether it is anomalous to the detector.
      scale: see `heat_map_overlay`.
      title: of the figure.
      label: of the colour bar.
      mark: see `heat_map_overlay`.

    Returns:
      A figure with two axes an image and a colour bar.

    Raises:
      ValueError: no image.

    >>> import numpy as np
    >>> image = np.zeros((40, 60, 1), np.uint8)
    >>> captions = [("crack", True), ("good", False)]
    >>> figure = heat_map_examples([image] * 2, [image[..., 0] + 0.5] * 2, [None] * 2, captions, scale=(0.0, 9.0),
    ...                            title="Examples", label="M, nats a pixel")
    >>> len(figure.axes)
    5
    """
    if not images:
        raise ValueError("got no images; expected at least one")
    norm = _scale(scale)
    side, gap, caption_room, above, below = 0.12, 0.1, 0.24, 0.5, 0.62
    columns = min(4, len(images))
    blocks = [range(start, min(start + columns, len(images))) for start in range(0, len(images), columns)]
    width = (_WIDTH - 2 * side - (columns - 1) * gap) / columns
    # Within a cell of one width, and not much taller than wide.
    shapes = [
        np.array(image.shape[:2]) * min(width / image.shape[1], _TALLEST * width / image.shape[0]) for image in images
    ]
    heights = [max(shapes[k][0] for k in block) for block in blocks]
    total = above + sum(caption_room + 2 * height + gap for height in heights) + below
    figure = Figure(figsize=(_WIDTH, total), dpi=_DPI)
    figure.suptitle(title, y=1 - 0.1 / total, va="top", parse_math=False)
    top = total - above
    for block, height in zip(blocks, heights, strict=True):
        top -= caption_room
        for column, k in enumerate(block):
            left, (own, across) = side + column * (width + gap), shapes[k]
            pixels = np.asarray(to_float(images[k]))
            pictures = (pixels if pixels.shape[-1] == 3 else _as_rgb(pixels[..., 0]), _blend(pixels, norm, heats[k]))
            for picture, bottom in zip(pictures, (top - own, top - own - 0.03 - own), strict=True):
                axes = figure.add_axes((left / _WIDTH, bottom / total, across / _WIDTH, own / total))
                axes.imshow(picture, aspect="auto")
                axes.set_axis_off()
                _outline(axes, masks[k])
            caption, is_anomalous = captions[k]
            color = ANOMALOUS if is_anomalous else NORMAL
            figure.text(left / _WIDTH, (top + 0.05) / total, caption, fontsize=9, color=color, parse_math=False)
        top -= 2 * height + gap
    axes = figure.add_axes((0.25, 0.42 / total, 0.5, 0.1 / total))
    bar = figure.colorbar(ScalarMappable(norm, _COLORMAP), cax=axes, orientation="horizontal", extend="max")
    _finish_bar(bar, label)
    if mark is not None:
        axes.axvline(mark, color=_MARK, linewidth=1.4)
    return figure


@matplotlib.style.context(STYLE)
def score_strips(
    scores: Mapping[str, Float[np.ndarray, " _"]],
    *,
    threshold: float,
    title: str,
    label: str,
) -> Figure:
    """Where the scores of each kind of image lie about the threshold: one dot an image, and the median.

    Args:
      scores: of each kind, the normal one first.
      threshold: the score above which an image is anomalous.
      title: of the figure.
      label: of the axis, with its unit.

    Returns:
      A figure with one axes.

    Raises:
      ValueError: no kind, or one without a finite score.

    >>> import numpy as np
    >>> kinds = {"good": np.array([1.0, 2.0]), "crack": np.array([3.0, 5.0])}
    >>> figure = score_strips(kinds, threshold=2.5, title="Scores", label="M, nats")
    >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
    ['good', 'crack']
    """
    if not scores or not all(values.size and np.isfinite(values).all() for values in scores.values()):
        raise ValueError("got no kind of image, or one without a finite score; expected at least one score each")
    figure = Figure(figsize=(_WIDTH, 0.9 + 0.42 * len(scores)), dpi=_DPI, layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, parse_math=False)
    # The same scatter in every run, since figures have the same bytes.
    rng = np.random.default_rng(0)
    for row, values in enumerate(scores.values()):
        color = ANOMALOUS if row else NORMAL
        heights = row + rng.uniform(-0.28, 0.28, values.size)
        axes.scatter(values, heights, s=7, color=color, alpha=0.45, linewidths=0, rasterized=True)
        axes.plot([np.median(values)] * 2, [row - 0.36, row + 0.36], color=color, linewidth=1.8)
    axes.axvline(threshold, color="#222222", linewidth=1.0, linestyle=(0, (5, 2)))
    axes.set_yticks(range(len(scores)), list(scores), parse_math=False)
    axes.set_ylim(len(scores) - 0.45, -0.75)
    axes.set_xlabel(label)
    everything = np.concatenate(list(scores.values()))
    if everything.min() > 0 and everything.max() > 30 * everything.min():
        axes.set_xscale("log")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(7))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: f"{at:,.6g}"))
    share = axes.transAxes.inverted().transform(axes.transData.transform((threshold, 0)))[0]
    # On the side where there is room for it.
    away, side = (3, "left") if share < 0.85 else (-3, "right")
    axes.annotate("threshold", (threshold, 1), (away, -2), xycoords=("data", "axes fraction"), ha=side,
                  textcoords="offset points", va="top", fontsize=9)  # fmt: skip
    return figure


def verdict_overlay(
    detector: AnomalyDetector,
    image: Num[np.ndarray, "height width channels"],
    heat: Float[np.ndarray, "height width"],
    verdict: ImageVerdict,
    *,
    title: str,
) -> Figure:
    """`heat_map_overlay` of one image with what the detector says of it.

    Args:
      detector: it gives the scale, which all its images share.
      image: see `heat_map_overlay`.
      heat: of the image, from `AnomalyDetector.heat_maps` with `smooth`.
      verdict: of the image, from `AnomalyDetector.scores`.
      title: e.g. the file's name.

    Returns:
      The figure.
    """
    letter = LETTERS[detector.term]
    return heat_map_overlay(
        image,
        heat,
        scale=detector.heat_scale,
        title=title,
        verdict=f"{'anomalous' if verdict.is_anomalous else 'normal'}: {letter} = {verdict.score:,.1f} nats, threshold "
        f"{verdict.threshold:,.1f}, p = {verdict.p_value:.3g}",
        is_anomalous=verdict.is_anomalous,
        label=f"{letter}, nats a pixel",
        note=f"{scale_note(detector)} Box: the most anomalous patch.",
        box=verdict.worst,
        mark=detector.pixel_levels[detector.term][1],
    )


def scale_note(detector: AnomalyDetector) -> str:
    """How the colours of a detector's heat maps are to be read, in two sentences."""
    return (
        f"One scale for all images, smoothed by {detector.smoothing:g} pixels. The mark in it: 1 in 1,000 pixels of "
        "held-out normal images is above it."
    )


def _scale(scale: tuple[float, float]) -> Normalize:
    low, high = scale
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"got a scale from {low} to {high}; expected two finite heats, the lower first")
    return Normalize(low, high)


def _as_rgb(gray: np.ndarray) -> np.ndarray:
    return np.repeat(gray[..., None], 3, axis=-1)


def _blend(pixels: np.ndarray, norm: Normalize, heat: np.ndarray) -> np.ndarray:
    """Heat over the gray image, `[height, width, 3]`."""
    share = np.clip(np.asarray(norm(heat)), 0.0, 1.0)
    opacity = _OPACITY * np.clip((share - _CLEAR) / (_COVERED - _CLEAR), 0.0, 1.0)[..., None]
    return (1 - opacity) * _as_rgb(pixels.mean(axis=-1)) + opacity * _COLORMAP(share)[..., :3]


def _outline(axes: Axes, mask: np.ndarray | None) -> None:
    if mask is not None and mask.any():
        axes.contour(mask.astype(float), levels=[0.5], colors=[_MARK], linewidths=0.9)


def _finish_bar(bar: Colorbar, label: str) -> None:
    bar.outline.set_linewidth(0.4)
    bar.set_label(label)
    bar.locator = MaxNLocator(5)
    bar.update_ticks()
    bar.ax.tick_params(labelsize=8.5, length=2, width=0.5)
