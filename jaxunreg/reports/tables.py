"""A table as data, and the same table for a page, a console, a document and a spreadsheet."""

import html
import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

from jaxunreg.metrics.interval import Interval

Cell: TypeAlias = str | int | float | Interval | None
"""In a table: text, a count, a number (three decimals), a number with its interval, or nothing."""


class Table(NamedTuple):
    """Numbers in rows.

    Attributes:
      caption: what the numbers are.
      header: name of each column.
      rows: cells, as many in each row as in the header; the first is the name of the row.
      best: which number to highlight, the largest, the smallest, or none.
      within: among which numbers: of the whole table, of each column, or of each row.
      note: a sentence under the table.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    best: Literal["max", "min"] | None = "max"
    within: Literal["table", "column", "row"] = "table"
    note: str = ""


def as_html(index: int, table: Table) -> str:
    for row in table.rows:
        if len(row) != len(table.header):
            raise ValueError(
                f"got a row of {len(row)} cells, {list(row)!r}, in table {table.caption!r}; expected "
                f"{len(table.header)}, as in its header {list(table.header)!r}"
            )
    highlighted = set(_best(table))
    # Above the box that scrolls sideways on a narrow screen, so that the caption stays in sight.
    lines = [
        f'<p class="caption" id="table-{index}">{html.escape(table.caption)}</p>',
        '<div class="scroll" tabindex="0">',
        f'<table aria-labelledby="table-{index}">',
    ]
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.header)
    lines += ["<thead>", f"<tr>{head}</tr>", "</thead>", "<tbody>"]
    for row_index, row in enumerate(table.rows):
        cells = [
            f'<th scope="row">{_cell(cell, False)}</th>'
            if column == 0
            else f'<td class="best">{_cell(cell, True)}</td>'
            if (row_index, column) in highlighted
            else f"<td>{_cell(cell, False)}</td>"
            for column, cell in enumerate(row)
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    lines += ["</tbody>", "</table>", "</div>"]
    if table.note:
        lines.append(f'<p class="note">{html.escape(table.note)}</p>')
    return "\n".join(lines)


def _best(table: Table) -> Iterator[tuple[int, int]]:
    """Row and column of every cell to highlight; equal numbers are all the best."""
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


def _cell(cell: Cell, best: bool) -> str:
    if cell is None:
        return "&ndash;"
    if isinstance(cell, str):
        return html.escape(cell)
    value = cell.value if isinstance(cell, Interval) else cell
    text = str(value) if isinstance(value, int) else f"{value:.3f}"
    text = f"<strong>{text}</strong>" if best else text
    if isinstance(cell, Interval):
        text += f' <span class="interval">{cell.low:.3f}&ndash;{cell.high:.3f}</span>'
    return text
