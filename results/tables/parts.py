"""The quoted results of the studies of parts."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from experiments.manufacturing import tables
from experiments.manufacturing.across_tables import blocks
from jaxunreg.reports.tables import Table
from jaxunreg.reports.text_tables import as_markdown
from results.tables.committed import committed

_SHORT = ("VAE on features, M", "VAE on features, L", "Gaussian on features", "PaDiM", "PatchCore, 1 %")


def parts_short() -> str:
    """Return the image ROC AUC of the main models on each set of parts."""
    [results] = committed("manufacturing-five.json")
    table = next(table for table in blocks(results) if table.caption == "Image ROC AUC")
    return as_markdown(dataclasses.replace(table, rows=[row for row in table.rows if row[0] in _SHORT]))


def parts_all() -> str:
    """Return every figure of merit of every model on each set of parts."""
    [results] = committed("manufacturing-five.json")
    return "\n".join(f"**{table.caption}**\n\n{as_markdown(table)}" for table in blocks(results))


def parts_summary() -> str:
    """Return how M of the detector compares with its peers and with its aims."""
    [results] = committed("manufacturing-five.json")

    def means(merit: str, model: str) -> dict[str, float]:
        return {name: float(np.mean(values)) for name, values in results["merits"][merit][model].items()}

    def mean(merit: str, model: str) -> float:
        return float(np.mean(list(means(merit, model).values())))

    ours, gaussian = "VAE on features, M", "Gaussian on features"
    peers = [name for name in results["merits"]["auc"] if name.startswith(("PaDiM", "PatchCore"))]
    best = max(peers, key=lambda name: mean("auc", name))
    of_sets = means("auc", ours)
    worst = min(value - max(means("auc", peer)[name] for peer in peers) for name, value in of_sets.items())
    nats, start = means("held_out_nats", "VAE on features"), means("held_out_nats", gaussian)
    auc = means("auc", gaussian)
    rows = [[name, f"{start[name] - nats[name]:.1f}", f"{of_sets[name] - auc[name]:+.3f}"] for name in nats]
    added = as_markdown(Table("", ["data set", "fewer held-out nats a place", "ROC AUC"], rows))
    rate, missed = mean("false_positive_rate", ours), means("missed", ours)
    return f"""\
- M has a mean ROC AUC of {mean("auc", ours):.3f}. The best peer, {best}, has {mean("auc", best):.3f}. On no set
  is M more than {max(0.0, -worst):.3f} below the best of the peers.
- L has {mean("auc", "VAE on features, L"):.3f} in the mean.
- At thresholds for a rate of 5 %, M calls {100 * rate:.1f} % of the normal images anomalous and misses
  {100 * mean("missed", ours):.0f} % of the defects in the mean. On magnetic tiles it misses
  {100 * missed["magnetic_tile"]:.0f} %. The threshold there rests on 22 tiles, and chance has a large part in where the
  highest of so few scores lies.

What the VAE adds to the Gaussian that it starts from:

{added}"""


def parts_quick() -> str:
    """Return the models on the generated parts."""
    [results] = committed("manufacturing-quick.json")
    table = tables.table_one(results)
    return as_markdown(_columns(table, ("model", "score", "ROC AUC", "average precision", "AUPRO")))


def magnetic_tile_pixels() -> str:
    """Return the models of pixels on the magnetic tiles."""
    [results] = committed("manufacturing-magnetic_tile.json")
    names = (
        *("model", "score", "ROC AUC", "average precision", "pixel ROC AUC", "AUPRO"),
        "rank correlation with complexity",
    )
    return as_markdown(_columns(tables.table_one(results), names))


def magnetic_tile_by_defect() -> str:
    """Return the same by kind of defect."""
    [results] = committed("manufacturing-magnetic_tile.json")
    return as_markdown(tables.by_defect(results))


def magnetic_tile_top_k() -> str:
    """Return M by the number of patches in its mean, on the validation images."""
    [results] = committed("manufacturing-magnetic_tile.json")
    [trials] = [row["trials"] for row in results["rows"] if (row["model"], row["score"]) == ("vae", "m")]
    counts = list(trials[0]["validation_auc_by_top_k"])
    means = [float(np.mean([trial["validation_auc_by_top_k"][k] for trial in trials])) for k in counts]
    return as_markdown(Table("", ["patches", *counts], [["M", *means]]))


def _columns(table: Table, names: Sequence[str]) -> Table:
    rows = [[row[table.header.index(name)] for name in names] for row in table.rows]
    return dataclasses.replace(table, header=names, rows=rows)
