"""Saved figures: their size, their bytes, and nothing half-written."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from PIL import Image

from jaxunreg.plots import roc_comparison, style


def test_saved_figures_have_their_size_and_the_same_bytes(tmp_path: Path) -> None:
    def figure() -> Figure:
        return roc_comparison({"VAE": (np.arange(9.0), np.arange(9.0) + 2)}, title="Twice")

    style.save_figure(figure(), tmp_path / "one.png")
    # A user's settings do not reach the figures, and the figures leave none behind.
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.facecolor": "green"}):
        before = dict(matplotlib.rcParams)
        style.save_figure(figure(), tmp_path / "two.png")
        assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as image:
        assert image.format == "PNG"
        assert image.size == tuple(round(150 * inches) for inches in figure().get_size_inches())
        assert set(image.info) <= {"dpi"}
    style.save_figure(figure(), str(tmp_path / "large.png"), dpi=300)
    with Image.open(tmp_path / "large.png") as large, Image.open(tmp_path / "one.png") as small:
        assert large.size == tuple(2 * side for side in small.size)


class Exploding(Artist):
    def draw(self, renderer: object) -> None:
        raise RuntimeError("no paint")


def test_a_failed_save_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    figure = Figure(figsize=(1, 1))
    figure.add_artist(Exploding())
    with pytest.raises(RuntimeError, match="no paint"):
        style.save_figure(figure, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        style.save_figure(Figure(figsize=(1, 1)), tmp_path / "missing" / "a.png")
    assert list(tmp_path.iterdir()) == [path]
