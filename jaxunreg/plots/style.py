"""The look of every figure, and saving."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxunreg.files import replacing
from jaxunreg.integers import check_integer
from jaxunreg.paths import given_path
from jaxunreg.signatures import checked

NORMAL = "#0077BB"
"""Blue of the normal samples (Tol's vibrant palette, which people with any colour blindness can tell apart)."""

ANOMALOUS = "#CC3311"
"""Red of the anomalous samples."""

MARK = "#33BBEE"
"""A cyan that is not among the colours of the heat."""

INK = "#222222"

NOTE = "#5A5A5A"

QUIET = "#8A8A8A"

FAINT = "#ABABAB"

PAGE_WIDTH = 7.2
"""Inches; 1080 pixels at 150 dpi."""

PLOT_WIDTH = 5.6
"""Inches: the width of a figure with one plot and its legend beside it."""

DPI = 150

TITLE_SIZE = 12.0
"""Points: the size of a title above one plot or above several."""


class Look(NamedTuple):
    """The look of the curve of a score."""

    label: str
    color: str
    line: Any
    marker: str


SCORES: Mapping[str, Look] = {
    "nelbo": Look(r"$\mathcal{L}(x)$", INK, (0, (5, 1.5)), "s"),
    "d": Look("$D(x)$", "#009988", (0, (1, 1.2)), "v"),
    "a": Look("$A(x)$", "#EE7733", (0, (5, 1.2, 1, 1.2)), "D"),
    "m": Look("$M(x)$", "#882288", "-", "o"),
}
"""In the order of the tables. The colours differ from those of the samples. Dashes and markers differ as well, for
readers who do not see colours."""

DASHES: Sequence[Any] = (
    "-",
    (0, (5, 1.5)),
    (0, (5, 1.2, 1, 1.2)),
    (0, (1, 1.2)),
    (0, (8, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
)

COLORS = ("#882288", INK, "#EE7733", "#009988", MARK, "#AA8800")

CHANCE_LINE: Mapping[str, Any] = {"color": QUIET, "linewidth": 0.7, "linestyle": (0, (4, 3)), "zorder": 0}
"""The ROC AUC of guessing."""

STYLE: Sequence[Any] = (
    # The machine's matplotlibrc must not change a figure.
    "default",
    {
        "axes.axisbelow": True,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.labelpad": 3.0,
        "axes.labelsize": 10.0,
        "axes.linewidth": 0.6,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlepad": 5.0,
        "axes.titlesize": 10.5,
        "figure.dpi": DPI,
        "figure.titlesize": TITLE_SIZE,
        # Fonts that come with matplotlib, so that a figure has the same bytes on every machine.
        "font.family": ["STIXGeneral", "DejaVu Sans"],
        "font.size": 10.0,
        "legend.borderaxespad": 0.4,
        "legend.fontsize": 9.5,
        "legend.frameon": False,
        "legend.handlelength": 2.2,
        "lines.linewidth": 1.2,
        "mathtext.fontset": "stix",
        "text.color": INK,
        "xtick.color": INK,
        "xtick.direction": "out",
        "xtick.labelsize": 9.0,
        "xtick.major.size": 2.5,
        "xtick.major.width": 0.6,
        "ytick.color": INK,
        "ytick.direction": "out",
        "ytick.labelsize": 9.0,
        "ytick.major.size": 2.5,
        "ytick.major.width": 0.6,
    },
)


@checked
@matplotlib.style.context(STYLE)
def save_figure(figure: Figure, path: str | Path, *, dpi: int = DPI) -> None:
    """Write a figure as PNG, whole or not at all. The same figure gives the same bytes.

    Args:
      figure: a figure of this module, or any other.
      path: the file, which is replaced if it exists. Its folder must exist.
      dpi: pixels an inch. Grids of images are sharp at multiples of 150.

    Raises:
      ArgumentError, ArgumentTypeError: no figure, no path, or fewer than one pixel an inch.
      OSError: the file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_figure(Figure(figsize=(1, 1)), Path(folder, "empty.png"))
    ...     Path(folder, "empty.png").read_bytes()[1:4]
    b'PNG'
    """
    check_integer("dpi", dpi, at_least=1)
    with replacing(given_path("path", path)) as temporary:
        # Without the program's version, which may differ between installations that draw the same.
        figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": None})


def look_of(score: str, index: int) -> Look:
    """Return the look of a score: the one in `SCORES`, or for another name one by its place among the curves."""
    return SCORES.get(score, Look(score, COLORS[index % len(COLORS)], "-", "o"))


def draw_chance(axes: Axes) -> None:
    """Draw a line at the ROC AUC of guessing, behind everything else."""
    axes.axhline(0.5, **CHANCE_LINE)


def padded(low: float, high: float) -> tuple[float, float]:
    """Return the ends of an axis that shows this range, with room for a line of text above it."""
    room = (high - low) or 1.0
    return low - 0.06 * room, high + 0.14 * room


def percent(share: float) -> str:
    """Return a share in percent, with two digits.

    >>> percent(0.0123), percent(0.25)
    ('1.2', '25')
    """
    return f"{100 * share:.1f}" if share < 0.0995 else f"{100 * share:.0f}"


def axes_in_inches(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes without a frame at a place in inches, from the left and the bottom."""
    total_width, total_height = figure.get_size_inches()
    axes = figure.add_axes((left / total_width, bottom / total_height, width / total_width, height / total_height))
    axes.set_axis_off()
    return axes
