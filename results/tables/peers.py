"""What is quoted of the benchmark beside other libraries."""

from jaxunreg.reports.tables import Cell, Table
from jaxunreg.reports.text_tables import as_markdown
from results.tables.committed import committed

_SEES = {"images": "maps of features", "features": "pooled features", "pixels": "32x32 pixels"}


def peers() -> str:
    """Return the ROC AUC of each method with its interval, its times, and the peak memory of its process."""
    [results] = committed("peers.json")
    rows: list[list[Cell]] = [
        [
            row["data"],
            row["method"],
            _SEES[row["columns"]],
            f"{row['auc']:.3f} ({row['auc_low']:.3f}-{row['auc_high']:.3f})",
            f"{row['seconds_to_fit']:.1f}",
            f"{row['milliseconds']:.1f}",
            f"{row['peak_mb']:,.0f}",
        ]
        for row in results
    ]
    return as_markdown(Table("", ["data", "method", "sees", "ROC AUC", "fit, s", "ms an image", "peak MB"], rows))
