"""The value of each part of the toy study's recipe: one lever a row, with equally many training images.

    python -m experiments.levers --preset quick     # the quick preset's network on the embedded digits
    python -m experiments.levers --preset paper     # the paper's network on SVHN

A row trains a short form of the recipe of `experiments.svhn_toy` with one change. It measures nats and ROC AUC on
held-out training digits, each once with and once without a square. The test digits are not used. Every field of
`LeversConfig` is an option (`--help`). A run writes `runs/levers/<name>/` (configuration, results, the table as CSV,
Markdown and LaTeX, learning curves, `index.html`) and goes on where it stopped when it is started again.
"""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxunreg as ju
from jaxunreg.reports.text_tables import as_markdown, write_table
from jaxunreg.training.state import starting_state

from .. import runs
from ..commands import command_line, console, parse
from ..toy_data import Data, describe_data, load_toy_data
from ..toy_scores import Scores, as_arrays, aucs, score, scores_of
from . import page
from .config import EXPERIMENT, PRESETS, LeverName, LeversRun
from .lever import lever


def main(args: list[str] | None = None) -> Path:
    """Run the study, and return the path of the page."""
    args = sys.argv[1:] if args is None else args
    config = parse(PRESETS, args, experiment=EXPERIMENT, description=__doc__)
    began = time.perf_counter()
    run = runs.open_run(config.directory, config, args, experiment=EXPERIMENT, free=("levers",))
    with run.removed_if_refused():
        data = load_toy_data(config)
        run.record_data(describe_data(data.dataset))
    scores = {name: train_lever(run, data, name) for name in config.levers}
    results = summarise(run, scores)
    results["timings"]["this_invocation"] = time.perf_counter() - began
    run.write_json("results.json", results)
    found = page.table(results)
    write_table(run.directory, "levers", found)
    path = page.write(run, data, results, command_line(EXPERIMENT, args))
    console.print(as_markdown(found), highlight=False, markup=False, soft_wrap=True)
    console.print(f"results: {run.directory / 'results.json'}", markup=False)
    print(path)
    return path


def train_lever(run: LeversRun, data: Data, name: LeverName) -> Scores:
    """Return scores of the held-out digits after training with one change, or read them back."""
    config = run.config
    changed = lever(config, name)
    model, key = ju.VAE(changed.vae), jax.random.key(config.seed)

    def measure(variables: Any) -> Scores:
        return score(ju.make_scorer(model, variables), data.validation, data.validation_erased)

    def compute() -> dict[str, np.ndarray]:
        if name == "start":
            return as_arrays(measure(starting_state(model, changed.train, key, data.train).variables))
        state = ju.fit(
            model,
            data.train,
            changed.train,
            key=key,
            held_out=data.validation,
            evaluate=lambda variables: {"auc": aucs(measure(variables))},
            directory=run.directory / "models" / name,
            progress=config.progress,
            description=name,
        )
        return as_arrays(measure(state.variables))

    return scores_of(run.stage(name, compute))


def summarise(run: LeversRun, scores: Mapping[LeverName, Scores]) -> dict[str, Any]:
    """Return the content of `results.json`."""
    config = run.config
    return {
        **run.head,
        "validation": config.validation_size,
        "images": config.train.steps * config.train.batch_size,
        "rows": [
            {
                "lever": name,
                "title": lever(config, name).title,
                "steps": 0 if name == "start" else lever(config, name).train.steps,
                "nats": {key: float(np.mean(pair[0], dtype=np.float64)) for key, pair in found.items()},
                "auc": aucs(found),
            }
            for name, found in scores.items()
        ],
        **run.tail,
    }
