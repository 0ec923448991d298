"""The page of the study of levers, and its table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxunreg import plots
from jaxunreg.reports.figures import Figures
from jaxunreg.reports.page import write_page
from jaxunreg.reports.tables import Table

from ..toy_data import Data
from .config import LeversRun


def table(results: Mapping[str, Any]) -> Table:
    """Make the table from `results.json`."""
    return Table(
        "One lever a row",
        ["lever", "steps", "negative ELBO, nats", "AUC of L", "AUC of M", "M - L"],
        [
            [
                row["title"],
                f"{row['steps']:,}",
                f"{row['nats']['nelbo']:,.0f}",
                row["auc"]["nelbo"],
                row["auc"]["m"],
                row["auc"]["m"] - row["auc"]["nelbo"],
            ]
            for row in results["rows"]
        ],
        best=None,
        note=f"Each row that trains uses about {results['images']:,} images. Each is measured on "
        f"{results['validation']:,} held-out training digits, each once with and once without a square.",
    )


def write(run: LeversRun, data: Data, results: Mapping[str, Any], command: str) -> Path:
    """Write the page: the table, and the learning curve of each row."""
    config, fallback = run.config, data.dataset
    figures = Figures(run.directory / "figures")
    for row in results["rows"]:
        records = run.training_records(row["lever"])
        if not records:
            continue
        figures.add(
            row["lever"],
            row["title"][:1].upper() + row["title"][1:],
            plots.training_curves(records, title=row["title"]),
            "The objective and its terms, as means per image, on training batches (with a sampled latent) and on "
            "the held-out digits (at the posterior mean), and the ROC AUC on these digits with and without a "
            "square.",
        )
    best = max(results["rows"], key=lambda row: row["auc"]["m"])
    page = run.directory / "index.html"
    write_page(
        page,
        title="What each part of the recipe is worth",
        subtitle=f"{fallback.name}, preset {config.preset}, seed {config.seed}",
        command=command,
        warning=fallback.fallback_reason if fallback.fell_back else None,
        summary=f"The highest ROC AUC of M in {len(results['rows'])} rows, {best['auc']['m']:.3f}, belongs to: "
        f"{best['title']}.",
        tables=[table(results)],
        sections=figures.sections,
        details={
            "data set": f"{fallback.name}: {fallback.source}",
            "SHA-256 of the data": fallback.fingerprint,
            "device": results["device"],
            "versions": ", ".join(f"{package} {number}" for package, number in results["versions"].items()),
            "seconds by row": ", ".join(f"{name} {seconds:.1f}" for name, seconds in results["timings"].items()),
        },
        config=run.record["config"],
    )
    return page
