"""The quoted results of the benchmarks."""

from collections.abc import Mapping
from typing import Any

from jaxunreg.reports.tables import Table
from jaxunreg.reports.text_tables import as_markdown
from results.tables.committed import committed

_PEERS = {"eager": "PyTorch", "jaxunreg float32": "our float32"}
_THROUGHPUT = {"Zen 5": "throughput-zen5.json", "Zen 4": "throughput-zen4.json"}


def _ratio(row: Mapping[str, Any]) -> str:
    return f"{row['ratio']:.2f} ({row['ratio_low']:.2f}-{row['ratio_high']:.2f})"


def throughput() -> str:
    """Return training and scoring of the two networks on a Zen 5, as a multiple of PyTorch."""
    return _throughput("Zen 5")


def throughput_zen4() -> str:
    """Return the same on a Zen 4."""
    return _throughput("Zen 4")


def _throughput(processor: str) -> str:
    [rows] = committed(_THROUGHPUT[processor])
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
    """Return the same in float32 on both processors, with only the ratios to PyTorch and the images a second."""
    header = ["network", "phase"]
    cells: dict[tuple[str, str], list[str]] = {}
    for processor, name in _THROUGHPUT.items():
        header += [f"ratio, {processor}", f"images/s, {processor}"]
        for row in committed(name)[0]:
            if (row["dtype"], row["peer"]) == ("float32", "eager"):
                key = row["network"], row["phase"]
                cells.setdefault(key, [*key]).extend((_ratio(row), f"{row['images_per_second']:,.0f}"))
    return as_markdown(Table("", header, list(cells.values())))


def profile() -> str:
    """Return what bounds training and scoring on one core: products, their speed, and all else."""
    header = ["network", "phase", "products, ms", "all else, ms", "share of products", "products' share of the peak"]
    cells = [
        [
            row["network"],
            row["phase"],
            f"{row['products_ms']:,.0f}",
            f"{row['rest_ms']:,.0f}",
            f"{100 * row['products_ms'] / (row['products_ms'] + row['rest_ms']):.0f}%",
            f"{100 * row['products_at_peak_ms'] / row['products_ms']:.0f}%",
        ]
        for row in sorted(
            committed("profile-*.json"), key=lambda row: (row["network"] != "toy", row["phase"] != "train")
        )
    ]
    return as_markdown(Table("", header, cells))


def crops() -> str:
    """Return the crops a second of a detector's training, beside the large network."""
    [row] = committed("crops.json")
    header = ["a crop", "ratio", "crops/s", "large network, images/s", "operations of a crop", "feeding", "start"]
    cells = [
        "x".join(map(str, row["image_shape"])),
        _ratio(row),
        f"{row['crops_per_second']:.0f}",
        f"{row['large_images_per_second']:.0f}",
        f"{row['operations_of_a_crop']:.2f}",
        f"{100 * row['feed_share']:.1f}%",
        f"{row['start_seconds']:.0f} s",
    ]
    return as_markdown(Table("", header, [cells]))


def sweep() -> str:
    """Return the speed of 32 members in one program against one after another."""
    [rows] = committed("sweep.json")
    cells = [
        [row["network"], row["devices"], _ratio(row)] for row in rows if row["members"] == 32 and not row["vectorize"]
    ]
    return as_markdown(Table("", ["network", "devices", "ratio to one after another"], cells))


def one_part() -> str:
    """From the bytes of a part's file to its verdict, on one thread and on two."""
    [found] = committed("one_part.json")
    threads = sorted({row["threads"] for row in found["rows"]})
    parts: dict[str, list[Any]] = {}
    for row in found["rows"]:
        resolution = f", `--resolution {row['resolution']}`" if row["resolution"] else ""
        parts.setdefault(f"{row['size']}x{row['size']}{resolution}", []).append(row)
    header = ["part", *(f"{count} thread{'s' if count > 1 else ''}, ms" for count in threads), "start-up, s"]
    cells = [
        [
            name,
            *(f"{row['milliseconds']:.0f} ({row['milliseconds_95']:.0f})" for row in rows),
            " / ".join(f"{row['start_up_seconds']:.1f}" for row in rows),
        ]
        for name, rows in parts.items()
    ]
    return as_markdown(Table("", header, cells))


def serving() -> str:
    """The service at saturation."""
    [found] = committed("serving.json")
    header = ["clients", "places", "answers", "wrong", "lost", "refused", "images/s", "ms (p50 / p95 / p99)"]
    cells = [
        [
            *(row[name] for name in ("clients", "places", "answers", "wrong", "lost", "refused")),
            f"{row['images_a_second']:.1f}",
            " / ".join(f"{row[f'milliseconds_{share}']:.0f}" for share in (50, 95, 99)),
        ]
        for row in found["rows"]
    ]
    return as_markdown(Table("", header, cells))


def inspection() -> str:
    """Quote what a user waits for, command by command."""
    [rows] = committed("inspection.json")
    keys = ("seconds", "seconds_compiled", "milliseconds", "milliseconds_95", "peak_mb")
    header = ["", "s", "s, programs on disk", "ms a part", "ms, 95 % below", "peak MB"]
    cells = [
        [row["what"], *("" if row.get(key) is None else f"{row[key]:,.{0 if row[key] >= 100 else 1}f}" for key in keys)]
        for row in rows
    ]
    return as_markdown(Table("", header, cells))


def feature_network() -> str:
    """Quote the feature network beside PyTorch."""
    [rows] = committed("features.json")
    header = ["size", "batch", "ratio to PyTorch", "ms an image", "PyTorch's", "compile, cold / cached"]
    cells = [
        [
            f"{row['size']}x{row['size']}",
            row["batch"],
            _ratio(row),
            f"{row['milliseconds']:.1f}",
            f"{row['peer_milliseconds']:.1f}",
            f"{row['compile_seconds']:.1f} s / {row['compile_seconds_warm']:.1f} s",
        ]
        for row in rows
    ]
    return as_markdown(Table("", header, cells))
