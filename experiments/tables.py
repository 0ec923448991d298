"""One table in the forms that people paste: CSV, Markdown, LaTeX."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from jaxunreg.files import replacing

_LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "±": r"$\pm$", "|": r"$|$"}


def as_csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Comma-separated values.

    >>> as_csv(["model", "AUC"], [["VAE, M", "0.9"]]).splitlines()
    ['model,AUC', '"VAE, M",0.9']
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    return text.getvalue()


def as_markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of GitHub's Markdown; numbers stand to the right.

    >>> print(as_markdown(["model", "AUC"], [["VAE", "0.9"]]), end="")
    | model | AUC |
    |---|---:|
    | VAE | 0.9 |
    """

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"

    return line(header) + "|---" + "|---:" * (len(header) - 1) + "|\n" + "".join(line(row) for row in rows)


def as_latex(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""A `tabular` with the rules of the package booktabs.

    >>> print(as_latex(["model", "AUC"], [["VAE", "90 %"]]), end="")
    \begin{tabular}{lr}
    \toprule
    model & AUC \\
    \midrule
    VAE & 90 \% \\
    \bottomrule
    \end{tabular}
    """

    def line(cells: Sequence[str]) -> str:
        return " & ".join("".join(_LATEX.get(letter, letter) for letter in cell) for cell in cells) + " \\\\\n"

    return (
        f"\\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}\n\\toprule\n{line(header)}\\midrule\n"
        f"{''.join(line(row) for row in rows)}\\bottomrule\n\\end{{tabular}}\n"
    )


def write_table(directory: Path, name: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write `name.csv`, `name.md` and `name.tex`, each whole or not at all."""
    for suffix, render in (("csv", as_csv), ("md", as_markdown), ("tex", as_latex)):
        with replacing(directory / f"{name}.{suffix}") as temporary:
            temporary.write_text(render(header, rows), encoding="utf-8")
