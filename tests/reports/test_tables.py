"""A table survives the special characters of each language, and its numbers are the same in all of them."""

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from jaxunreg.errors import ArgumentError
from jaxunreg.metrics.interval import Interval
from jaxunreg.reports.console_table import print_table
from jaxunreg.reports.html_table import as_html
from jaxunreg.reports.tables import Table
from jaxunreg.reports.text_tables import as_csv, as_latex, as_markdown, write_table

SPECIAL = Table("t", ["model", "a|b"], [["50 %_x", "1 ± 2"]])

ROW = ["VAE", 0.12345, Interval(0.9, 0.85, 0.95), 4809, None]
NUMBERS = Table("Scores of [red]lot[/red]", ["model", "a", "b", "c", "d"], [ROW], note="A note :smile:.")


def printed(table: Table) -> str:
    text = io.StringIO()
    print_table(Console(file=text, width=120, markup=False, emoji=False), table)
    return text.getvalue()


def test_tables_survive_what_is_special_in_their_language():
    assert list(csv.reader(as_csv(SPECIAL).splitlines())) == [SPECIAL.header, *SPECIAL.rows]
    assert as_markdown(SPECIAL).splitlines()[0] == r"| model | a\|b |"
    assert r"50 \%\_x & 1 $\pm$ 2 \\" in as_latex(SPECIAL)


def test_a_number_is_written_alike_in_every_form():
    cells = ["VAE", "0.123", "0.900 (0.850-0.950)", "4809", ""]
    assert list(csv.reader(as_csv(NUMBERS).splitlines()))[1] == cells
    assert as_markdown(NUMBERS).splitlines()[2] == f"| {' | '.join(cells)} |"
    assert as_latex(NUMBERS).splitlines()[4] == f"{' & '.join(cells)} \\\\"
    [line] = [line for line in printed(NUMBERS).splitlines() if "VAE" in line]
    assert [cell.strip() for cell in line.split("│")[1:-1]] == cells
    assert '0.900 <span class="interval">0.850&ndash;0.950</span>' in as_html(NUMBERS, 1)


def test_the_console_prints_names_as_they_are():
    first, *_, note, empty = printed(NUMBERS).splitlines()
    assert (first, note, empty) == ("Scores of [red]lot[/red]", "A note :smile:.", "")


def test_a_table_is_written_in_three_forms(tmp_path: Path):
    write_table(tmp_path, "levers", NUMBERS)
    found = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert found == {"levers.csv": as_csv(NUMBERS), "levers.md": as_markdown(NUMBERS), "levers.tex": as_latex(NUMBERS)}


def test_a_row_of_another_length_is_refused():
    with pytest.raises(ArgumentError, match=r"a row of 3 cells, .* in table 'AUC'; expected 2"):
        Table("AUC", ["model", "L"], [["VAE", 0.5, 0.6]])
