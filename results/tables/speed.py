"""The quoted results of the benchmarks."""

from collections.abc import Mapping
from typing import Any

from jaxunreg.reports.tables import Table
from jaxunreg.reports.text_tables import as_markdown
from results.tables.committed import committed

_PEERS = {"eager": "PyTorch", "jaxunreg float32": "our float32"}


def _ratio(row: Mapping[str, Any]) -> str:
    return f"{row['ratio']:.2f} ({row['ratio_low']:.2f}-{row['ratio_high']:.2f})"


def throughput() -> str:
    """Return training and scoring of the two networks, as a multiple of PyTorch."""
    [rows] = committed("throughput.json")
    header = [
        *("network", "phase", "dtype", "beside", "ratio", "images/s", "the other's", "GFLOP/s", "of a matrix product"),
        "compile, cold / cached",
    ]
    cells = [
        [
            row["network"],
            row["phase"],
            row["dtype"],
            _PEERS[row["peer"]],
            _ratio(row),
            f"{row['images_per_second']:,.0f}",
            f"{row['peer_images_per_second']:,.0f}",
            f"{row['gflops']:,.0f}",
            f"{100 * row['share_of_matmul']:.0f}%",
            f"{row['compile_seconds']:.1f} s / {row['compile_seconds_warm']:.1f} s",
        ]
        for row in rows
    ]
    return as_markdown(Table("", header, cells))


def throughput_short() -> str:
    """Return the same in float32, with only the ratio."""
    [rows] = committed("throughput.json")
    header = ["network", "phase", "ratio to PyTorch", "images/s"]
    cells = [
        [row["network"], row["phase"], _ratio(row), f"{row['images_per_second']:,.0f}"]
        for row in rows
        if (row["dtype"], row["peer"]) == ("float32", "eager")
    ]
    return as_markdown(Table("", header, cells))


def sweep() -> str:
    """Return the speed of 32 members in one program against one after another."""
    [rows] = committed("sweep.json")
    cells = [
        [row["network"], row["devices"], _ratio(row)] for row in rows if row["members"] == 32 and not row["vectorize"]
    ]
    return as_markdown(Table("", ["network", "devices", "ratio to one after another"], cells))
