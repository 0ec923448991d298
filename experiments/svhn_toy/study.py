"""The toy study of section V: VAE, AE, GMM and Isolation Forest on house-number digits with erased squares.

    python -m experiments.svhn_toy --preset quick     # minutes on two cores
    python -m experiments.svhn_toy --preset paper     # the full setting

Every field of `ToyConfig` is an option (`--help`). A run writes `runs/svhn_toy/<name>/` (configuration, metrics,
results, figures, `index.html`) and goes on where it stopped when it is started again under the same name.
"""

import sys
import time
from pathlib import Path

from .. import commands, runs
from ..commands import command_line, console
from ..runs import RunError
from ..toy_data import Data, describe_data, load_toy_data
from ..toy_scores import Scores, scores_of
from . import figures, page
from .config import EXPERIMENT, PRESETS, SHOWN, ToyConfig, ToyRun
from .results import summarise
from .stages import (
    fit_forest,
    fit_mixture,
    fit_pca,
    sweep_components,
    sweep_latent_dims,
    train_ae,
    train_vae,
)


def main(args: list[str] | None = None) -> Path:
    """Run the study, and return the path of the page."""
    args = sys.argv[1:] if args is None else args
    config = parse(args)
    began = time.perf_counter()
    run = open_run(config, args)
    with run.removed_if_refused():
        data = load_data(run)

    vae, reconstructions = train_vae(run, data)
    models: dict[str, Scores] = {"vae": vae}
    mixture = None
    if "ae" in config.models:
        models["ae"] = train_ae(run, data)
    if "gmm" in config.models:
        mixture = fit_mixture(run, data, config.gmm)
        models["gmm"] = scores_of(mixture)
    if "pca" in config.models:
        models["pca"] = fit_pca(run, data)
    if "isolation_forest" in config.models:
        models["isolation_forest"] = fit_forest(run, data)
    sweep = {"vae": sweep_latent_dims(run, data, vae), "gmm": sweep_components(run, data)}

    results = summarise(run, data, models, sweep)
    results["timings"]["this_invocation"] = time.perf_counter() - began
    run.write_json("results.json", results)
    path = run.directory / "index.html"
    sections = figures.draw(run, data, models, reconstructions, mixture, results)
    page.write(path, run, data, results, sections, command_line(EXPERIMENT, args))
    console.print(f"results: {run.directory / 'results.json'}", markup=False)
    print(path)
    return path


def parse(args: list[str]) -> ToyConfig:
    """Make the config from the command line: the preset's, overridden by the options."""
    return commands.parse(PRESETS, args, experiment=EXPERIMENT, description=__doc__)


def open_run(config: ToyConfig, args: list[str]) -> ToyRun:
    """Make the run's folder, or go on in it if it holds the same run."""
    return runs.open_run(config.directory, config, args, experiment=EXPERIMENT)


def load_data(run: ToyRun) -> Data:
    """Load the toy data set, and note it in the run's `config.json`."""
    data = load_toy_data(run.config)
    if len(data.normal) < SHOWN:
        raise RunError(
            f"{len(data.normal)} test digits", f"at least {SHOWN}, the number in the figures", "raise --test-size"
        )
    run.record_data(describe_data(data.dataset))
    return data
