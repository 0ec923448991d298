"""A table as data, and the one rule that turns its numbers into text. Other modules show it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from jaxunreg.errors import ArgumentError
from jaxunreg.metrics.interval import Interval

Cell: TypeAlias = str | int | float | Interval | None
"""A cell of a table: text, a count, a number (three decimals), a number with its interval, or nothing."""


@dataclass(frozen=True)
class Table:
    """Numbers in rows.

    Attributes:
      caption: the meaning of the numbers.
      header: name of each column.
      rows: cells, as many in each row as in the header. The first is the name of the row.
      best: the number to highlight: the largest, the smallest, or none.
      within: the numbers to compare: those of the whole table, of each column, or of each row.
      note: a sentence under the table.

    Raises:
      ArgumentError: a row has another number of cells than the header.

    >>> Table("ROC AUC", ["model", "L"], [["VAE", 0.5, 0.6]])
    Traceback (most recent call last):
    jaxunreg.errors.ArgumentError: got a row of 3 cells, ['VAE', 0.5, 0.6], in table 'ROC AUC'; expected 2, as in its
    header ['model', 'L']
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    best: Literal["max", "min"] | None = "max"
    within: Literal["table", "column", "row"] = "table"
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ArgumentError(
                    f"a row of {len(row)} cells, {list(row)!r}, in table {self.caption!r}",
                    f"{len(self.header)}, as in its header {list(self.header)!r}",
                )


def cell_parts(cell: Cell) -> tuple[str, tuple[str, str] | None]:
    """Return the text of a cell, and the ends of its interval if it has one.

    >>> cell_parts(Interval(0.9, 0.85, 0.95)), cell_parts(4809), cell_parts(None)
    (('0.900', ('0.850', '0.950')), ('4809', None), ('', None))
    """
    if isinstance(cell, Interval):
        return f"{cell.value:.3f}", (f"{cell.low:.3f}", f"{cell.high:.3f}")
    if cell is None:
        return "", None
    return (cell if isinstance(cell, str) else str(cell) if isinstance(cell, int) else f"{cell:.3f}"), None


def cell_text(cell: Cell) -> str:
    """Return a cell as plain text.

    >>> cell_text(Interval(0.9, 0.85, 0.95)), cell_text(0.12345), cell_text("VAE")
    ('0.900 (0.850-0.950)', '0.123', 'VAE')
    """
    text, interval = cell_parts(cell)
    return text if interval is None else f"{text} ({'-'.join(interval)})"


def best_cells(table: Table) -> set[tuple[int, int]]:
    """Return row and column of each number to highlight. Equal numbers are all highlighted.

    >>> sorted(best_cells(Table("", ["model", "L", "M"], [["VAE", 0.7, 0.9], ["GMM", 0.6, 0.9]])))
    [(0, 2), (1, 2)]
    """
    return set(_best(table))


def _best(table: Table) -> Iterator[tuple[int, int]]:
    if table.best is None:
        return
    numbers = {
        (row_index, column): value
        for row_index, row in enumerate(table.rows)
        for column, cell in enumerate(row)
        if column > 0 and (value := _number(cell)) is not None
    }
    groups: dict[int, dict[tuple[int, int], float]] = {}
    for place, value in numbers.items():
        group = {"table": 0, "row": place[0], "column": place[1]}[table.within]
        groups.setdefault(group, {})[place] = value
    choose = max if table.best == "max" else min
    for members in groups.values():
        best = choose(members.values())
        yield from (place for place, value in members.items() if value == best)


def _number(cell: Cell) -> float | None:
    value = cell.value if isinstance(cell, Interval) else cell
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
