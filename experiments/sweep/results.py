"""`results.json` of a sweep, and its trials as CSV."""

import dataclasses
import json
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxunreg.csv_rows import CsvRows
from jaxunreg.decomposition import TERMS
from jaxunreg.files import replacing

from .space import Range, Setting, Space
from .trials import Trial


def setting_of(config: Mapping[str, Any], axes: Iterable[str]) -> Setting:
    """Return the values of these axes in a trial's configuration."""
    return {name: config["network"][name] if name in config["network"] else config["train"][name] for name in axes}


def summarise(record: Mapping[str, Any], space: Space, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the content of `results.json`, from that of `config.json`, the axes, and the sweep's trials."""
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
    # A setting that fails under some seeds comes last, because the mean over its other seeds says little.
    ranked.sort(key=lambda one: (one["failed_seeds"] > 0, -one["validation"][config["objective"]]["mean"]))
    by_latent_dim: dict[int, dict[str, Any]] = {}
    for one in ranked:
        # For each latent size the setting that is best on the validation digits.
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
    # Results follow the configuration even if the first trials failed and have none; the error comes last.
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "error"]
    names = [name for name in names if not name.startswith("result.")] + [
        name for name in names if name.startswith("result.")
    ]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = CsvRows(file)
        names = [*names, "error"]
        writer.write(names)
        for row in rows:
            writer.write([row.get(name) for name in names])


def _flat(value: Any, name: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return {key: item for part, inner in value.items() for key, item in _flat(inner, f"{name}.{part}").items()}
    return {name: json.dumps(value) if isinstance(value, list) else value}
