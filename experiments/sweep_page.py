"""What a sweep ends with: `results.json`, the page with its figures, and the trials as CSV."""

import csv
import dataclasses
import json
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.space import Range, Setting, Space
from experiments.trials import Trial
from jaxunreg import plots
from jaxunreg.decomposition import LETTERS, TERMS
from jaxunreg.files import replacing
from jaxunreg.metrics.interval import Interval
from jaxunreg.reports.figures import Figures
from jaxunreg.reports.page import write_page
from jaxunreg.reports.tables import Cell, Table


def setting_of(config: Mapping[str, Any], axes: Iterable[str]) -> Setting:
    """The values of these axes in a trial's configuration."""
    return {name: config["network"][name] if name in config["network"] else config["train"][name] for name in axes}


def summarise(record: Mapping[str, Any], space: Space, trials: Sequence[Trial]) -> dict[str, Any]:
    """`results.json`, from what the run's `config.json` says, the axes, and the rows of the sweep's trials."""
    config = record["config"]
    done = [trial for trial in trials if trial.result is not None]
    settings: dict[tuple[Any, ...], list[Trial]] = {}
    failures: Counter[tuple[Any, ...]] = Counter()
    for trial in trials:
        setting = tuple(setting_of(trial.config, space.axes).values())
        if trial.result is not None:
            settings.setdefault(setting, []).append(trial)
        failures[setting] += trial.state == "failed"
    ranked: list[dict[str, Any]] = [
        {
            "setting": dict(zip(space.axes, values, strict=True)),
            "seeds": [trial.config["seed"] for trial in found],
            "failed_seeds": failures[values],
            "validation": {name: _spread(found, "validation", name) for name in TERMS},
            "test": {name: _spread(found, "test", name) for name in TERMS},
        }
        for values, found in settings.items()
    ]
    # The mean over the seeds that did not fail says little of a setting that fails under others.
    ranked.sort(key=lambda one: (one["failed_seeds"] > 0, -one["validation"][config["objective"]]["mean"]))
    by_latent_dim: dict[int, dict[str, Any]] = {}
    for one in ranked:
        # The best on the validation digits of each latent size, shown on the test digits.
        by_latent_dim.setdefault(one["setting"].get("latent_dim", config["vae"]["latent_dim"]), one)
    return {
        "experiment": record["experiment"],
        "preset": config["preset"],
        "command": record["command"],
        "data": record["data"],
        "search": config["search"],
        "axes": {
            name: dataclasses.asdict(axis) if isinstance(axis, Range) else list(axis)
            for name, axis in space.axes.items()
        },
        "seeds": list(space.seeds),
        "objective": config["objective"],
        "trials": {state: sum(trial.state == state for trial in trials) for state in ("done", "failed")},
        "settings": ranked,
        "by_latent_dim": {str(size): by_latent_dim[size] for size in sorted(by_latent_dim)},
        "failed": [
            {
                "setting": setting_of(trial.config, space.axes),
                "seed": trial.config["seed"],
                "attempts": trial.attempts,
                "error": trial.error,
            }
            for trial in trials
            if trial.state == "failed"
        ],
        "training_seconds": sum(trial.result["seconds"] / trial.result["members"] for trial in done if trial.result),
        "workers": sorted({trial.result["worker"] for trial in done if trial.result}),
        "versions": record["versions"],
        "device": record["device"],
    }


def _spread(trials: Sequence[Trial], split: str, name: str) -> dict[str, Any]:
    values = [trial.result["auc"][split][name] for trial in trials if trial.result is not None]
    return {"mean": statistics.fmean(values), "low": min(values), "high": max(values), "values": values}


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


def draw(
    directory: Path, config: Mapping[str, Any], space: Space, trials: Sequence[Trial], results: Mapping[str, Any]
) -> Path:
    """The figures, and the page that shows them.

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
            f"A line is a trial. It crosses each axis at its setting and ends at the ROC AUC of {objective} on the "
            "validation digits. Where the bright lines run through one value of an axis, that value is the good one; "
            "where colours mix, it does not matter. Axes of which all trials have one value are left out.",
        )
        sizes = [int(size) for size in results["by_latent_dim"]]
        others = sorted({*space.axes} - {"latent_dim"})
        chosen = f" Of each size the best setting of {', '.join(others)} on the validation digits is shown."
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
        tables=tables(space, results),
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


def tables(space: Space, results: Mapping[str, Any]) -> list[Table]:
    """The best settings, and the trials that failed."""

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


def write_csv(path: Path, trials: Collection[Trial]) -> None:
    """Write trials as CSV, whole or not at all: nested configurations and results as columns with dotted names.

    >>> import tempfile
    >>> trial = Trial("ab", {"seed": 1}, "done", "me", 0.0, 1, 0.0, 0.0, {"auc": {"m": 0.9}}, None)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_csv(Path(folder, "trials.csv"), [trial])
    ...     print(Path(folder, "trials.csv").read_text(encoding="utf-8").strip())
    id,state,attempts,config.seed,result.auc.m,error
    ab,done,1,1,0.9,
    """
    rows = [
        {
            "id": trial.id,
            "state": trial.state,
            "attempts": trial.attempts,
            **_flat(trial.config, "config"),
            **_flat(trial.result or {}, "result"),
            "error": trial.error,
        }
        for trial in trials
    ]
    # A failed trial has no results; the error stands last.
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "error"]
    names = [name for name in names if not name.startswith("result.")] + [
        name for name in names if name.startswith("result.")
    ]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*names, "error"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _flat(value: Any, name: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return {key: item for part, inner in value.items() for key, item in _flat(inner, f"{name}.{part}").items()}
    return {name: json.dumps(value) if isinstance(value, list) else value}
