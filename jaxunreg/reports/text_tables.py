"""A table as CSV, Markdown and LaTeX, for pasting. Its caption and note are left out."""

import io
from collections.abc import Sequence
from pathlib import Path

from jaxunreg.csv_rows import CsvRows
from jaxunreg.files import replacing
from jaxunreg.reports.tables import Table, cell_text

_LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "±": r"$\pm$", "|": r"$|$"}


def as_csv(table: Table) -> str:
    """Return comma-separated values.

    >>> as_csv(Table("", ["model", "AUC"], [["VAE, M", 0.9]])).splitlines()
    ['model,AUC', '"VAE, M",0.900']
    """
    text = io.StringIO()
    rows = CsvRows(text)
    for cells in _texts(table):
        rows.write(cells)
    return text.getvalue()


def as_markdown(table: Table) -> str:
    """Return a table in GitHub's Markdown, with numbers aligned to the right.

    >>> print(as_markdown(Table("", ["model", "AUC"], [["VAE", 0.9]])), end="")
    | model | AUC |
    |---|---:|
    | VAE | 0.900 |
    """
    header, *rows = ("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n" for cells in _texts(table))
    return header + "|---" + "|---:" * (len(table.header) - 1) + "|\n" + "".join(rows)


def as_latex(table: Table) -> str:
    r"""Return a `tabular` with the rules of the package booktabs.

    >>> print(as_latex(Table("", ["model", "AUC"], [["VAE", "90 %"]])), end="")
    \begin{tabular}{lr}
    \toprule
    model & AUC \\
    \midrule
    VAE & 90 \% \\
    \bottomrule
    \end{tabular}
    """
    header, *rows = (
        " & ".join("".join(_LATEX.get(letter, letter) for letter in cell) for cell in cells) + " \\\\\n"
        for cells in _texts(table)
    )
    return (
        f"\\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}\n\\toprule\n{header}\\midrule\n"
        f"{''.join(rows)}\\bottomrule\n\\end{{tabular}}\n"
    )


def write_table(directory: Path, name: str, table: Table) -> None:
    """Write `name.csv`, `name.md` and `name.tex`, each whole or not at all.

    Args:
      directory: an existing folder.
      name: name of the files, without a suffix.
      table: the table.

    Raises:
      OSError: a file cannot be written.
    """
    for suffix, render in (("csv", as_csv), ("md", as_markdown), ("tex", as_latex)):
        with replacing(directory / f"{name}.{suffix}") as temporary:
            temporary.write_text(render(table), encoding="utf-8")


def _texts(table: Table) -> list[Sequence[str]]:
    """Return the header and then the rows."""
    return [table.header, *([cell_text(cell) for cell in row] for row in table.rows)]
