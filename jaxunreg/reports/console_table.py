"""A table on a console."""

from rich.console import Console
from rich.table import Table as RichTable

from jaxunreg.reports.tables import Table, cell_text
from jaxunreg.text import printable


def print_table(console: Console, table: Table) -> None:
    """Print a table with its caption above it and its note below it.

    Args:
      console: the console to print on. If its `markup` and `emoji` are off, texts are printed unchanged.
      table: the table.

    >>> print_table(Console(width=40), Table("AUC", ["model", "M"], [["VAE", 0.9]], note="Higher is better."))
    AUC
    ┏━━━━━━━┳━━━━━━━┓
    ┃ model ┃     M ┃
    ┡━━━━━━━╇━━━━━━━┩
    │ VAE   │ 0.900 │
    └───────┴───────┘
    Higher is better.
    <BLANKLINE>
    """
    console.print(table.caption, highlight=False, style="bold")
    shown = RichTable()
    for column, name in enumerate(table.header):
        shown.add_column(name, justify="left" if column == 0 else "right")
    for row in table.rows:
        shown.add_row(*(printable(cell_text(cell)) for cell in row))
    console.print(shown, highlight=False)
    console.print(table.note, highlight=False, soft_wrap=True, style="dim")
    console.print()
