"""The page of a sweep, with its figures and tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxunreg import plots
from jaxunreg.decomposition import LETTERS, TERMS
from jaxunreg.metrics.interval import Interval
from jaxunreg.reports.figures import Figures
from jaxunreg.reports.page import write_page
from jaxunreg.reports.tables import Cell, Table

from .results import setting_of
from .space import Space
from .trials import Trial

SHOWN = 20
LABELS = {
    "base_channels": "base channels $N_c$",
    "depth": "depth",
    "latent_dim": "latent size $N_z$",
    "learning_rate": "learning rate",
    "weight_decay": "weight decay",
    "kl_weight": "weight of $D$",
    "seed": "seed",
}


def write(
    directory: Path, config: Mapping[str, Any], space: Space, trials: Sequence[Trial], results: Mapping[str, Any]
) -> Path:
    """Draw the figures, and write the page that shows them.

    Args:
      directory: the run's folder.
      config: its settings, JSON data.
      space: the axes.
      trials: the rows of the sweep's trials.
      results: see `summarise`.

    Returns:
      The page.
    """
    name, score = results["data"]["name"], results["objective"]
    objective = LETTERS[score]
    done = [trial for trial in trials if trial.result is not None]
    figures = Figures(directory / "figures")

    if done:
        columns = {axis: [setting_of(trial.config, [axis])[axis] for trial in done] for axis in space.axes}
        columns["seed"] = [trial.config["seed"] for trial in done]
        varied = {axis: column for axis, column in columns.items() if len(set(column)) > 1} or columns
        figures.add(
            "parallel_coordinates",
            "All trials",
            plots.parallel_coordinates(
                {LABELS[axis]: column for axis, column in varied.items()},
                [trial.result["auc"]["validation"][score] for trial in done if trial.result],
                title=f"{len(done)} trials on {name}",
                label=f"AUC of ${objective}$",
            ),
            f"Each line is a trial. It crosses each axis at its setting and ends at the ROC AUC of {objective} on the "
            "validation digits. If the bright lines run through one value of an axis, that value is good. "
            "If colours mix, the value does not matter. Axes with one value in all trials are left out.",
        )
        sizes = [int(size) for size in results["by_latent_dim"]]
        others = sorted({*space.axes} - {"latent_dim"})
        chosen = f" For each size, the setting of {', '.join(others)} that is best on the validation digits is shown."
        figures.add(
            "auc_by_latent_dim",
            "AUC against the latent size (Fig. 9)",
            plots.auc_spread(
                sizes,
                {term: [one["test"][term]["values"] for one in results["by_latent_dim"].values()] for term in TERMS},
                title=f"ROC AUC against latent size, {name}",
                x_label="dimension number $N_z$ of the latent space",
            ),
            "ROC AUC on the test digits. Lines are means over seeds, bands go from the lowest to the highest seed, "
            f"small dots are seeds.{chosen if others else ''}",
        )

    best = results["settings"][0] if results["settings"] else None
    counts = results["trials"]
    summary = f"{counts['done']} trials are done, {counts['failed']} failed."
    if best:
        setting = ", ".join(f"{axis} {value:g}" for axis, value in best["setting"].items()) or "the preset's setting"
        m, nelbo = best["test"]["m"], best["test"]["nelbo"]
        summary += (
            f" Best on the validation digits by the AUC of {objective}: {setting}. On the test digits M then has "
            f"a ROC AUC of {m['mean']:.3f} ({m['low']:.3f} to {m['high']:.3f} over {len(m['values'])} seeds), "
            f"and L {nelbo['mean']:.3f}."
        )
    page = directory / "index.html"
    write_page(
        page,
        title="Sweep of the toy study",
        subtitle=f"{name}, preset {results['preset']}, {results['search']}",
        command=results["command"],
        warning=results["data"]["fallback_reason"] if results["data"]["fell_back"] else None,
        summary=summary,
        tables=_tables(space, results),
        sections=figures.sections,
        details={
            "data set": f"{name}: {results['data']['source']}",
            "SHA-256 of the data": results["data"]["fingerprint"],
            "table of trials": config["table"] or "trials.sqlite",
            "seconds of training": f"{results['training_seconds']:.1f} in all groups together",
            "workers": f"{len(results['workers'])}",
            "device of the driver": results["device"],
            "versions": ", ".join(f"{package} {number}" for package, number in results["versions"].items()),
        },
        config=config,
    )
    return page


def _tables(space: Space, results: Mapping[str, Any]) -> list[Table]:
    """Return the best settings, and the trials that failed."""

    def cell(spread: Mapping[str, Any]) -> float | Interval:
        return Interval(spread["mean"], spread["low"], spread["high"]) if len(spread["values"]) > 1 else spread["mean"]

    def plain(values: Mapping[str, Any]) -> list[Cell]:
        return [f"{value:g}" for value in values.values()]

    axes = [name.replace("_", " ") for name in space.axes]
    shown = results["settings"][:SHOWN]
    found = [
        Table(
            "ROC AUC of the best settings",
            [
                "rank",
                *axes,
                "seeds",
                f"{LETTERS[results['objective']]}, validation",
                *(f"{LETTERS[term]}, test" for term in TERMS),
            ],
            [
                [
                    str(rank),
                    *plain(one["setting"]),
                    f"{len(one['seeds'])} of {len(one['seeds']) + one['failed_seeds']}",
                    cell(one["validation"][results["objective"]]),
                    *(cell(one["test"][term]) for term in TERMS),
                ]
                for rank, one in enumerate(shown, start=1)
            ],
            within="column",
            note=f"{len(shown)} of {len(results['settings'])} settings, ranked by the first AUC; those that failed "
            "under a seed stand last. Means over seeds, with the lowest and the highest seed.",
        )
    ]
    if results["failed"]:
        found.append(
            Table(
                "Trials that failed",
                ["trial", *axes, "seed", "begun", "error"],
                [
                    [str(k), *plain(one["setting"]), str(one["seed"]), str(one["attempts"]), _one_line(one["error"])]
                    for k, one in enumerate(results["failed"], start=1)
                ],
                best=None,
                note="Start the same command again with --retry-failed to train them again.",
            )
        )
    return found


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 240 else f"{line[:239]}…"
