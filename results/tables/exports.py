"""What is quoted of exported detectors."""

from jaxunreg.reports.tables import Table
from jaxunreg.reports.text_tables import as_markdown
from results.tables.committed import committed


def quantized() -> str:
    """Image ROC AUC of exported detectors in float32 and in int8."""
    [found] = committed("quantized.json")
    cells = [
        [
            row["data"],
            f"{row['normal']} + {row['defects']}",
            f"{row['auc_float32']:.3f}",
            f"{row['auc_int8']:.3f}",
            f"{row['ratio']:.2f}",
        ]
        for row in found["rows"]
    ]
    header = ["data", "normal + defects", "AUC, float32", "AUC, int8", "score, int8 / float32"]
    return as_markdown(Table("", header, cells))
