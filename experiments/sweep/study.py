"""A sweep of the toy study over latent size, learning rate, weight decay, KL weight, network and seed.

    python -m experiments.sweep --preset quick                                # Fig. 9 with its spread over seeds
    python -m experiments.sweep --latent-dim 20 100 500 --seeds 0 1 2 --base-channels 16 32
    python -m experiments.sweep --space space.toml --search tpe --trials 40
    python -m experiments.sweep --preset paper --cluster ray

An axis that is not given has the network's or the training's own value. Only trials with another network shape need
another program. All others train together in one, which is for accelerators and for many devices: on one CPU device it
takes about as long as one trial after another. A run writes `runs/sweep/<name>/`: the table of trials, results,
figures, `index.html`. If it is started again under the same name, also with a larger space, it goes on where it
stopped, and nothing runs twice. Several processes with the same command share the work.
"""

import dataclasses
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxunreg.serialization import to_json

from .. import commands, runs
from ..commands import console
from ..toy_data import Data, describe_data, load_toy_data
from . import page
from .config import BASE, EXPERIMENT, PRESETS, SweepConfig, SweepRun
from .executors import Executor, LocalExecutor
from .groups import Images
from .ray_executor import RayExecutor
from .results import setting_of, summarise, write_csv
from .scheduling import run_trials
from .search import Grid, OptunaSearch, Search
from .space import AXES, Setting, Space, read_space
from .trials import Trial, TrialTable, trial_id


def main(args: list[str] | None = None) -> Path:
    """Run the sweep, and return the path of the page."""
    args = sys.argv[1:] if args is None else args
    config = parse(args)
    began = time.perf_counter()
    space = declared_space(config)
    search = make_search(config, space)
    configs: dict[str, dict[str, Any]] = {}
    with make_executor(config) as executor:
        run = open_run(config, args)
        with run.removed_if_refused():
            data = load_toy_data(config)
            run.record_data(describe_data(data.dataset))
        table = TrialTable(config.table or run.directory / "trials.sqlite", config.lease_seconds)
        directory = (run.directory / "groups").absolute() if config.checkpoints else None
        executor.prepare(Images.of(data), directory)
        with table.renewing():
            while settings := search.ask():
                generation = [trial_config(config, data, setting, seed) for setting in settings for seed in space.seeds]
                configs |= {trial_id(each): each for each in generation}
                trials = run_trials(config, table, executor, generation, directory)
                search.tell([value_of(config, space, trials, setting) for setting in settings])

    trials = table.trials(set(configs))
    results = summarise(run.record, space, trials)
    results["timings"] = {"this_invocation": time.perf_counter() - began}
    run.write_json("results.json", results)
    if config.csv:
        write_csv(run.directory / "trials.csv", trials)
    path = page.write(run.directory, run.record["config"], space, trials, results)
    console.print(f"results: {run.directory / 'results.json'}", markup=False)
    print(path)
    return path


def parse(args: list[str]) -> SweepConfig:
    """Make the config from the command line: the preset's, overridden by the options."""
    return commands.parse(PRESETS, args, experiment=EXPERIMENT, description=__doc__)


def open_run(config: SweepConfig, args: list[str]) -> SweepRun:
    """Make the run's folder, or go on in it if the shared settings are the same."""
    free = {field.name for field in dataclasses.fields(config)} - {*BASE}
    return runs.open_run(config.directory, config, args, experiment=EXPERIMENT, free=free)


def declared_space(config: SweepConfig) -> Space:
    """Return the space of the options, or of the file that they name.

    Raises:
      The errors of `read_space` and `Space`.
    """
    if config.space is not None:
        return read_space(config.space, config.seeds)
    return Space({name: getattr(config, name) for name in AXES if getattr(config, name)}, config.seeds)


def make_executor(config: SweepConfig) -> Executor:
    """Return the executor that trains the groups.

    Raises:
      RunError: Ray is requested but not installed.
    """
    if config.cluster == "ray":
        return RayExecutor(progress=config.progress, cpus_per_group=config.cpus_per_group)
    return LocalExecutor(progress=config.progress)


def make_search(config: SweepConfig, space: Space) -> Search:
    """Return the search that the options request."""
    if config.search == "grid":
        return Grid(space)
    return OptunaSearch(
        space, config.search, trials=config.trials, generation=config.generation, seed=config.search_seed
    )


def trial_config(config: SweepConfig, data: Data, setting: Setting, seed: int) -> dict[str, Any]:
    """Return everything that a trial's numbers depend on, as JSON data.

    Nothing is checked here, so that a setting that cannot be built fails as its own trial.
    """
    network, train = dataclasses.asdict(config.vae), dataclasses.asdict(config.train)
    for name, value in setting.items():
        (network if name in network else train)[name] = value
    return to_json(
        {
            "experiment": EXPERIMENT,
            "network": network,
            "train": train,
            "seed": seed,
            "data": {
                "fingerprint": data.dataset.fingerprint,
                "erase": dataclasses.asdict(config.erase),
                "validation_size": config.validation_size,
            },
        }
    )


def value_of(config: SweepConfig, space: Space, trials: Sequence[Trial], setting: Setting) -> float | None:
    """Return a setting's mean AUC over seeds on the validation digits, or None if it failed under any seed."""
    found = [trial for trial in trials if setting_of(trial.config, space.axes) == setting]
    values = [trial.result["auc"]["validation"][config.objective] for trial in found if trial.result is not None]
    return statistics.fmean(values) if values and len(values) == len(found) else None
