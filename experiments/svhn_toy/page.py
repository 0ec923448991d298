"""The page of the toy study, and its tables."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxunreg.decomposition import LETTERS, TERMS
from jaxunreg.metrics.interval import Interval
from jaxunreg.reports.figures import Section
from jaxunreg.reports.page import write_page
from jaxunreg.reports.tables import Table

from ..toy_data import Data
from ..toy_scores import KINDS
from .config import LABELS, ToyRun


def write(
    path: Path, run: ToyRun, data: Data, results: Mapping[str, Any], sections: Sequence[Section], command: str
) -> None:
    """Write the page.

    Args:
      path: the file.
      run: the run's folder.
      data: the digits.
      results: the content of `results.json`.
      sections: the figures.
      command: the command line that made the run.
    """
    config = run.config
    m, nelbo = results["auc"]["vae"]["m"]["value"], results["auc"]["vae"]["nelbo"]["value"]
    explained = results["explained_by_class"]["vae"]
    write_page(
        path,
        title="Toy study: erased squares on house numbers",
        subtitle=f"{data.dataset.name}, preset {config.preset}, seed {config.seed}",
        command=command,
        warning=data.dataset.fallback_reason if data.dataset.fell_back else None,
        summary=f"With the unregularized score M the VAE reaches a ROC AUC of {m:.3f}, with the negative ELBO L "
        f"{nelbo:.3f}. The digit explains {100 * explained['m']:.1f} % of the variance of M among normal samples, and "
        f"{100 * explained['nelbo']:.1f} % of that of L.",
        tables=_tables(results),
        sections=sections,
        details=_details(data, results),
        config=run.record["config"],
    )


def _tables(results: Mapping[str, Any]) -> list[Table]:
    """Return the tables of the page."""
    header = ["model", *(LETTERS[term] for term in TERMS)]

    def row(model: str, values: Mapping[str, Any], cell: Callable[[Any], Any]) -> list[Any]:
        # The single score of the forest and of the PCA is in the first column, where the others have L.
        first = values.get("nelbo", values.get("score"))
        return [LABELS[model], cell(first), *(cell(values[term]) if term in values else None for term in TERMS[1:])]

    return [
        Table(
            "ROC AUC with its 95 % interval",
            header,
            [row(model, values, lambda cell: Interval(**cell)) for model, values in results["auc"].items()],
            note="Bootstrap over test digits, each with its normal and its anomalous copy. An autoencoder has its mean "
            "squared error, PCA and the Isolation Forest their one score in place of L.",
        ),
        Table(
            "Share of the normal samples' variance that the digit explains",
            header,
            [row(model, values, float) for model, values in results["explained_by_class"].items()],
            best="min",
            note="Between-class share of the variance (eta squared).",
        ),
        Table(
            "Mean score of normal and of anomalous test samples, nats an image",
            ["model", *(f"{LETTERS[term]}, {kind}" for term in TERMS for kind in KINDS)],
            [
                [LABELS[model], *(f"{values[key][kind]:,.1f}" for key in TERMS for kind in KINDS)]
                for model, values in results["mean_nats"].items()
            ],
            best=None,
        ),
        Table(
            "ROC AUC on the held-out digits at the end of training",
            ["model", *(f"{LETTERS[key]}, {end}" for key in results["late_auc"] for end in ("lowest", "highest"))],
            [[LABELS["vae"], *(float(auc[end]) for auc in results["late_auc"].values() for end in ("low", "high"))]],
            best=None,
            note="Over the evaluations of the last quarter of training.",
        ),
    ]


def _details(data: Data, results: Mapping[str, Any]) -> dict[str, str]:
    """Return data, device, versions and timings, for the end of the page."""
    return {
        "data set": f"{data.dataset.name}: {data.dataset.source}",
        "training digits": f"{len(data.train):,}",
        "test digits": f"{len(data.normal):,}, each once normal and once anomalous",
        "SHA-256 of the data": data.dataset.fingerprint,
        "device": results["device"],
        "versions": ", ".join(f"{package} {number}" for package, number in results["versions"].items()),
        "seconds by stage": ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in results["timings"].items()),
        **{f"note on {stage}": json.dumps(note) for stage, note in results["notes"].items()},
    }
