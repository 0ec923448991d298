"""Grids of images: what was drawn is read back from the pixels of the file."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from jaxunreg import plots
from jaxunreg.plots import style


def png(figure: Figure, path: Path, dpi: int = 150) -> np.ndarray:
    style.save_figure(figure, path, dpi=dpi)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def pixels_of(axes: Axes, picture: np.ndarray, dpi: int) -> np.ndarray:
    """The part of a decoded PNG that an axes covers."""
    width, height = axes.figure.get_size_inches() * dpi
    box = axes.get_position()
    top, bottom = (round(height * (1 - end)) for end in (box.y1, box.y0))
    left, right = (round(width * end) for end in (box.x0, box.x1))
    return picture[top:bottom, left:right]


@pytest.mark.parametrize("dpi", [150, 300])
@pytest.mark.parametrize("channels", [1, 3])
def test_sample_grid_shows_every_pixel_as_a_square_of_its_own_colour(tmp_path: Path, channels: int, dpi: int) -> None:
    rng = np.random.default_rng(0)
    normal, anomalous = (rng.integers(0, 256, (7, 16, 16, channels), np.uint8) for _ in range(2))
    figure = plots.sample_grid(normal, anomalous, title="Samples", rows=2, columns=3)
    assert len(figure.axes) == 2
    picture = png(figure, tmp_path / "grid.png", dpi)
    for axes, images in zip(figure.axes, (normal, anomalous), strict=True):
        panel = pixels_of(axes, picture, dpi)
        # Two rows of 16 pixels and a gap of one; three columns of 16 and two gaps.
        zoom = panel.shape[0] // 33
        assert panel.shape == (33 * zoom, 50 * zoom, 3)
        assert zoom > 2
        # Without the rim of each square: matplotlib 3.9 is off by one pixel of the figure there.
        blocks = panel.reshape(33, zoom, 50, zoom, 3)[:, 1:-1, :, 1:-1]
        for index in range(6):
            row, column = divmod(index, 3)
            shown = blocks[17 * row : 17 * row + 16, :, 17 * column : 17 * column + 16]
            expected = np.broadcast_to(images[index], (16, 16, 3))
            np.testing.assert_array_equal(shown, np.broadcast_to(expected[:, None, :, None], shown.shape))


def test_sample_grid_clips_a_reconstruction_that_leaves_the_range(tmp_path: Path) -> None:
    images = np.full((1, 8, 8, 3), 0.5, np.float32)
    images[0, 0, 0], images[0, 0, 1] = -0.2, 1.3
    figure = plots.sample_grid(images, images, title="Means", rows=1, columns=1)
    panel = pixels_of(figure.axes[0], png(figure, tmp_path / "a.png"), 150)
    zoom = panel.shape[0] // 8
    assert (panel[:zoom, :zoom] == 0).all()
    assert (panel[:zoom, zoom : 2 * zoom] == 255).all()
    assert (abs(panel[zoom:].astype(int) - 127.5) <= 0.5).all()


def test_sample_grid_outlines_the_squares_without_covering_them() -> None:
    images = np.zeros((4, 32, 32, 3), np.uint8)
    boxes = np.array([[0, 0], [3, 28], [28, 5], [10, 11]])
    figure = plots.sample_grid(images, images, title="Boxes", rows=2, columns=2, boxes=boxes, box_size=4)
    assert not figure.axes[0].patches
    step = 32 + 2  # an image and the gap beside it
    drawn = [patch for patch in figure.axes[1].patches if isinstance(patch, Rectangle)]
    assert len(drawn) == 4
    for index, patch in enumerate(drawn):
        row, column = divmod(index, 2)
        top, left = boxes[index] + (row * step, column * step)
        # Pixel k covers k - 1/2 to k + 1/2 of the axes.
        x, y = patch.get_xy()
        assert left - 1.5 < x < left - 0.5
        assert left + 3.5 < x + patch.get_width() < left + 4.5
        assert top - 1.5 < y < top - 0.5
        assert top + 3.5 < y + patch.get_height() < top + 4.5


def test_sample_grid_rejects_what_it_cannot_show() -> None:
    images = np.zeros((4, 8, 8, 3), np.uint8)

    def grid(normal: np.ndarray, anomalous: np.ndarray, rows: int = 2, **more: np.ndarray) -> Figure:
        return plots.sample_grid(normal, anomalous, title="", rows=rows, columns=2, **more)

    with pytest.raises(ValueError, match="got 4 normal images for 3 rows of 2"):
        grid(images, images, rows=3)
    with pytest.raises(ValueError, match="got 3 anomalous images"):
        grid(images, images[:3])
    with pytest.raises(ValueError, match="0 rows"):
        grid(images, images, rows=0)
    with pytest.raises(ValueError, match=r"\[4, 8, 8, 2\]; expected .* 1 or 3 channels"):
        grid(images[..., :2], images)
    with pytest.raises(ValueError, match="normal images of 8x8 and anomalous ones of 8x7"):
        grid(images, images[:, :, :7])
    with pytest.raises(ValueError, match="NaN"):
        grid(np.full((4, 8, 8, 1), np.nan), images)
    with pytest.raises(ValueError, match=r"boxes of shape \[3, 2\]; expected \[4, 2\]"):
        grid(images, images, boxes=np.zeros((3, 2), int))
