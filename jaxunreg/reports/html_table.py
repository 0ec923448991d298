"""A table in a page."""

import html

from jaxunreg.reports.tables import Cell, Table, best_cells, cell_parts


def as_html(table: Table, index: int) -> str:
    """Return a table in HTML, with its caption and note.

    Args:
      table: the table.
      index: its number in the page, for its anchor.

    >>> print(as_html(Table("AUC", ["model", "M"], [["VAE", 0.9]]), 1))
    <p class="caption" id="table-1">AUC</p>
    <div class="scroll" tabindex="0">
    <table aria-labelledby="table-1">
    <thead>
    <tr><th scope="col">model</th><th scope="col">M</th></tr>
    </thead>
    <tbody>
    <tr><th scope="row">VAE</th><td class="best"><strong>0.900</strong></td></tr>
    </tbody>
    </table>
    </div>
    """
    highlighted = best_cells(table)
    # The caption is above the box that scrolls sideways on a narrow screen, so it stays visible.
    lines = [
        f'<p class="caption" id="table-{index}">{html.escape(table.caption)}</p>',
        '<div class="scroll" tabindex="0">',
        f'<table aria-labelledby="table-{index}">',
    ]
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in table.header)
    lines += ["<thead>", f"<tr>{head}</tr>", "</thead>", "<tbody>"]
    for row_index, row in enumerate(table.rows):
        cells = [
            f'<th scope="row">{_cell(cell)}</th>'
            if column == 0
            else f'<td class="best">{_cell(cell, best=True)}</td>'
            if (row_index, column) in highlighted
            else f"<td>{_cell(cell)}</td>"
            for column, cell in enumerate(row)
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    lines += ["</tbody>", "</table>", "</div>"]
    if table.note:
        lines.append(f'<p class="note">{html.escape(table.note)}</p>')
    return "\n".join(lines)


def _cell(cell: Cell, best: bool = False) -> str:
    if cell is None:
        return "&ndash;"
    text, interval = cell_parts(cell)
    text = html.escape(text)
    text = f"<strong>{text}</strong>" if best else text
    return text if interval is None else f'{text} <span class="interval">{"&ndash;".join(interval)}</span>'
