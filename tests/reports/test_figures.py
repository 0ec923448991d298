"""Figures keep the order in which they were added, each beside its file."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from jaxunreg.reports.figures import Figures, Section


def test_figures_keep_their_order_and_are_files(tmp_path: Path):
    figures = Figures(tmp_path / "run" / "figures")
    for name, inches in (("b", 1), ("a", 2)):
        figures.add(name, name.upper(), Figure(figsize=(inches, 1)), f"How to read {name}.", alt=f"alt of {name}")
    files = [tmp_path / "run" / "figures" / f"{name}.png" for name in "ba"]
    assert figures.sections == [
        Section("B", files[0], "How to read b.", "alt of b"),
        Section("A", files[1], "How to read a.", "alt of a"),
    ]
    for path, width in zip(files, (150, 300), strict=True):
        with Image.open(path) as image:
            assert image.size == (width, 150)


def test_two_pages_do_not_share_their_figures(tmp_path: Path):
    one, other = Figures(tmp_path), Figures(tmp_path)
    one.add("a", "A", Figure(figsize=(1, 1)), "")
    assert (len(one.sections), other.sections) == (1, [])


def test_a_figure_that_cannot_be_saved_is_not_on_the_page(tmp_path: Path):
    figures = Figures(tmp_path)
    (tmp_path / "a.png").mkdir()
    with pytest.raises(OSError, match="a.png"):
        figures.add("a", "A", Figure(figsize=(1, 1)), "")
    assert figures.sections == []
