"""The page of a run, read back with Python's own HTML parser."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxunreg.metrics.interval import Interval
from jaxunreg.reports.figures import Section
from jaxunreg.reports.page import write_page
from jaxunreg.reports.tables import Table

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Reader(HTMLParser):
    """Collects tags with their attributes and text; fails on a tag that is not closed where it should be."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.cells: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in {"td", "th"}:
            self.cells.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self.open), data))
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def text_in(self, tag: str) -> list[str]:
        return [text for path, text in self.texts if tag in path and text.strip()]


@pytest.fixture
def figure(tmp_path: Path) -> Path:
    path = tmp_path / "figure.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)).save(path)
    return path


def write(path: Path, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "title": "Toy study",
        "subtitle": "embedded digits",
        "command": "python -m experiments.svhn_toy --preset quick",
        "warning": None,
        "summary": "M is above L.\n\nBy a wide margin.",
        "tables": [],
        "sections": [],
        "details": {"device": "cpu"},
        "config": {"vae": {"depth": 4, "image_shape": [32, 32, 3]}, "seed": 0},
    }
    write_page(path, **{**arguments, **changes})
    return path.read_text(encoding="utf-8")


def test_the_page_is_whole_and_shows_all_it_was_given(tmp_path: Path, figure: Path) -> None:
    sections = [
        Section("Samples", figure, "Left normal, right anomalous."),
        Section("ROC", figure, "Upper left is better.", alt="Two ROC curves"),
    ]
    table = Table("ROC AUC", ["model", "L"], [["VAE", 0.5]], note="Chance is one half.")
    page = Reader(write(tmp_path / "index.html", sections=sections, tables=[table]))
    assert page.text_in("h1") == ["Toy study"]
    text = "\n".join(text for _, text in page.texts)
    for wanted in ("embedded digits", "M is above L.", "By a wide margin.", "ROC AUC", "Chance is one half."):
        assert wanted in text
    assert page.text_in("code") == ["python -m experiments.svhn_toy --preset quick"]
    assert [part for part in page.text_in("figcaption") if "How to read" not in part] == [
        " Left normal, right anomalous.",
        " Upper left is better.",
    ]
    assert dict(zip(page.text_in("dt"), page.text_in("dd"), strict=True)) == {
        "device": "cpu",
        "vae.depth": "4",
        "vae.image_shape": "[32, 32, 3]",
        "seed": "0",
    }
    assert [image["alt"] for image in page.all("img")] == ["Samples", "Two ROC curves"]
    # Every entry of the contents leads to a figure.
    anchors = {figure["id"] for figure in page.all("figure")}
    assert [link["href"] for link in page.all("a")] == ["#figure-1", "#figure-2"]
    assert anchors == {"figure-1", "figure-2"}
    assert "viewport" in [meta.get("name") for meta in page.all("meta")]


def test_images_are_inside_bit_for_bit_with_their_size(tmp_path: Path, figure: Path) -> None:
    page = Reader(write(tmp_path / "index.html", sections=[Section("A", figure, "B")]))
    (image,) = page.all("img")
    head, data = image["src"].split(",", 1)
    assert head == "data:image/png;base64"
    content = base64.b64decode(data, validate=True)
    assert content == figure.read_bytes()
    with Image.open(io.BytesIO(content)) as decoded:
        assert (str(decoded.width), str(decoded.height)) == (image["width"], image["height"])


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(tmp_path: Path, figure: Path) -> None:
    text = write(tmp_path / "index.html", sections=[Section("A", figure, "B")], warning="w")
    page = Reader(text)
    for tag, attributes in page.tags:
        assert tag not in {"script", "iframe", "object", "embed", "base", "form"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "srcset", "action", "poster", "data"}:
                assert value.startswith(("data:", "#"))
    style = "".join(page.text_in("style"))
    assert "url(" not in style
    assert "@import" not in style
    assert "://" not in text
    (policy,) = (meta["content"] for meta in page.all("meta") if meta.get("http-equiv"))
    assert "default-src 'none'" in policy


EVIL = """<script>alert("1")</script>&amp;'"</p></table> $style ${body} $$ @BODY@ é 数"""


def test_every_text_is_escaped_and_comes_back_as_it_was(tmp_path: Path, figure: Path) -> None:
    plain = Reader(write(tmp_path / "plain.html", **everything("x", figure)))
    page = Reader(write(tmp_path / "evil.html", **everything(EVIL, figure)))
    # The same tags in the same order: no text became one.
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    text = "".join(text for _, text in page.texts)
    # title twice (head and h1), subtitle, command, warning, summary, caption, two headers, two cells, note,
    # figure's title twice (contents and heading), how to read, detail's name and value, config's name
    assert text.count(EVIL) == 18
    assert [image["alt"] for image in page.all("img")] == [EVIL]


def everything(text: str, figure: Path) -> dict[str, Any]:
    return {
        "title": text,
        "subtitle": text,
        "command": text,
        "warning": text,
        "summary": text,
        "tables": [Table(text, [text, text], [[text, text]], note=text)],
        "sections": [Section(text, figure, text, alt=text)],
        "details": {text: text},
        "config": {text: [1, None, True]},
    }


def test_the_warning_is_there_only_when_it_is_given(tmp_path: Path) -> None:
    with_warning = Reader(write(tmp_path / "a.html", warning="Not SVHN"))
    without = Reader(write(tmp_path / "b.html", warning=None))

    def boxes(page: Reader) -> list[dict[str, str | None]]:
        return [attributes for attributes in page.all("p") if attributes.get("class") == "warning"]

    assert len(boxes(with_warning)) == 1
    assert not boxes(without)
    # Before everything else but the title.
    texts = [text for _, text in with_warning.texts if text.strip()]
    assert texts.index(" Not SVHN") < texts.index("M is above L.")


NUMBERS = [
    ["VAE", 0.5, Interval(0.9, 0.85, 0.95), None],
    ["GMM", 0.8, Interval(0.6, 0.55, 0.65), 0.9],
    ["AE", float("nan"), None, 0.1],
]


@pytest.mark.parametrize(
    ("best", "within", "expected"),
    [
        ("max", "table", ["0.900", "0.900"]),  # equal numbers are both the best
        ("min", "table", ["0.100"]),
        ("max", "column", ["0.900", "0.800", "0.900"]),
        ("min", "column", ["0.500", "0.600", "0.100"]),
        ("max", "row", ["0.900", "0.900", "0.100"]),
        ("min", "row", ["0.500", "0.600", "0.100"]),
        (None, "table", []),
    ],
)
def test_the_best_numbers_are_highlighted(tmp_path: Path, best: str | None, within: str, expected: list[str]) -> None:
    table = Table("AUC", ["model", "L", "M", "score"], NUMBERS, best=best, within=within)
    page = Reader(write(tmp_path / "a.html", tables=[table]))
    assert page.text_in("strong") == expected
    assert sum(cell.get("class") == "best" for cell in page.all("td")) == len(expected)


def test_cells_show_numbers_intervals_counts_and_gaps(tmp_path: Path) -> None:
    row = ["VAE", 0.12345, Interval(0.9, 0.85, 0.95), 4809, None]
    table = Table("t", ["model", "a", "b", "c", "d"], [row], best=None)
    page = Reader(write(tmp_path / "a.html", tables=[table]))
    assert page.cells[:5] == ["model", "a", "b", "c", "d"]
    assert page.cells[5:] == ["VAE", "0.123", "0.900 0.850\N{EN DASH}0.950", "4809", "\N{EN DASH}"]


def test_a_figure_that_is_no_whole_png_is_refused(tmp_path: Path, figure: Path) -> None:
    target = tmp_path / "index.html"
    whole = figure.read_bytes()
    for content in (b"", b"<svg/>", whole[:30], whole[:-20]):
        figure.write_bytes(content)
        with pytest.raises(ValueError, match=rf"figure\.png, {len(content)} bytes .* expected a whole PNG"):
            write(target, sections=[Section("A", figure, "B")])
    figure.unlink()
    with pytest.raises(FileNotFoundError, match=r"figure\.png"):
        write(target, sections=[Section("A", figure, "B")])
    assert not list(tmp_path.iterdir())


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path, figure: Path) -> None:
    one, two = tmp_path / "one.html", tmp_path / "two.html"
    for path in (one, two):
        write(path, **everything("text", figure))
    assert one.read_bytes() == two.read_bytes()
    write(two, **{**everything("text", figure), "summary": "other"})
    assert one.read_bytes() != two.read_bytes()


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "index.html"
    write(path)
    before = path.read_bytes()
    with pytest.raises(UnicodeEncodeError):
        write(path, summary="\ud800")  # half of a surrogate pair has no UTF-8
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "missing" / "index.html")
