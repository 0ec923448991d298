"""What is quoted of a detector on a line."""

from jaxunreg.reports.tables import Cell, Table
from jaxunreg.reports.text_tables import as_markdown
from results.tables.committed import committed


def drift_delays() -> str:
    """Parts from a change to an alarm, by how many parts were held out."""
    [rows] = committed("drift.json")
    counts = sorted({row["held_out"] for row in rows})
    cells: list[list[Cell]] = []
    for change in dict.fromkeys(row["change"] for row in rows):
        found = {row["held_out"]: row for row in rows if row["change"] == change}
        cells.append([change, *(_delay(found[count]) for count in counts), found[counts[-1]]["by"]])
    header = ["change", *(f"{count} held-out parts" for count in counts), "by which test"]
    return as_markdown(Table("", header, cells))


def _delay(row: dict) -> str:
    median = "-" if row["median"] is None else f"{row['median']:.0f}"
    return f"{median} ({100 * row['share']:.0f} %)"
