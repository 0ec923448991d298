"""No name is a formula in a spreadsheet, wherever its cells are cut, and none acts on a terminal."""

import csv
import io
import itertools
import os

import pytest

from jaxunreg.csv_rows import CsvRows
from jaxunreg.text import is_utf8, printable

FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1+1", "\r=1+1", " =1+1", "\uff1d1+1", "|cmd", "=cmd|' /C calc'!A0"]


def written(row: list, **options) -> str:
    file = io.StringIO(newline="")
    CsvRows(file, **options).write(row)
    return file.getvalue()


@pytest.mark.parametrize("name", [*FORMULAS, *(f"a{mark}{text}" for mark in ';,\t|"\n' for text in FORMULAS)])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_is_a_formula_wherever_lines_are_cut(name, delimiter):
    cells = itertools.chain(*csv.reader(io.StringIO(written([name, "text", name], paths=[0])), delimiter=delimiter))
    assert not [cell for cell in cells if cell.lstrip(' "').startswith(("=", "+", "-", "@", "\uff1d", "|"))]


@pytest.mark.parametrize("name", ["=1+1.png", "-a/b.png", "+a;b.png", "@x.png"])
def test_a_path_that_looks_like_one_is_still_the_path(name):
    [[path]] = csv.reader(io.StringIO(written([name], paths=[0])))
    assert os.path.normpath(path) == name


def test_numbers_and_plain_names_are_as_they_were():
    row = ["parts/a-b=c.png", -1.5, 3, None, "-2.5", "a,b", 'say "x"', "caf\u00e9"]
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerow(row)
    assert written(row, paths=[0]) == file.getvalue()


@pytest.mark.parametrize(
    "letter", ["\x00", "\x07", "\x1b", "\n", "\r", "\t", "\x7f", "\x85", "\x9b", "\u2028", "\u202e", "\udce9"]
)
def test_what_acts_becomes_an_escape(letter):
    shown = printable(f"a{letter}b.png")
    assert letter not in shown
    assert shown.isprintable()
    assert shown.encode()
    assert ascii(letter)[1:-1] in shown
    assert printable(shown) == shown
    assert is_utf8(shown)


@pytest.mark.parametrize(
    "name", ["a b.png", "\u56fe.png", "cafe\u0301.png", "\u05d0.png", "\U0001f600.png", "a\\n.png"]
)
def test_other_names_stay(name):
    assert printable(name) == name
