"""A sweep of the toy study over latent size, learning rate, weight decay, KL weight, network and seed.

    python -m experiments.sweep --preset quick                                # Fig. 9 with its spread over seeds
    python -m experiments.sweep --latent-dim 20 100 500 --seeds 0 1 2 --base-channels 16 32
    python -m experiments.sweep --space space.toml --search tpe --trials 40
    python -m experiments.sweep --preset paper --cluster ray

An axis that is not given has the network's or the training's own value. Trials that differ in the network's shape alone
need another program; all others train together in one. A run writes `runs/sweep/<name>/`: the table of trials, results,
figures, `index.html`. Started again under the same name, also with a larger space, it goes on where it stopped, and
nothing runs twice. The same command started in several processes shares the work between them.
"""

import dataclasses
import statistics
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rich.markup import escape

import jaxunreg as ju
from experiments import runs, sweep_page
from experiments.executors import Executor, LocalExecutor, RayExecutor
from experiments.groups import Group, Images, Outcome, group_trials, remove_checkpoints
from experiments.runs import Run, console
from experiments.space import AXES, Grid, OptunaSearch, Search, Setting, Space, read_space
from experiments.toy_data import Data, describe_data, load_toy_data
from experiments.trials import Trial, TrialTable, trial_id
from jaxunreg.datasets.digits.erasing import EraseConfig
from jaxunreg.decomposition import Term
from jaxunreg.serialization import to_json

EXPERIMENT = "sweep"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Everything that a sweep depends on.

    Attributes:
      preset: which set of defaults to start from; every other option overrides it.
      search: all combinations of the axes' values, or settings that Optuna draws at random or by TPE, which learns from
        what came of the earlier ones.
      trials: how many settings a search draws; each is trained under every seed.
      generation: how many of them it draws at a time; a generation trains together.
      search_seed: seed of the search.
      objective: whose AUC on the validation digits, as the mean over seeds, TPE raises and the page ranks by.
      seeds: seeds of the networks; every setting is trained under each.
      latent_dim: axis: N_z.
      base_channels: axis: N_c.
      depth: axis: layers of encoder and decoder.
      learning_rate: axis: Adam's alpha.
      weight_decay: axis: L2 coefficient.
      kl_weight: axis: weight of D in the objective.
      space: a TOML or JSON file with the axes instead, `latent_dim = [20, 100]`, or for a search also ranges,
        `learning_rate = {low = 1e-4, high = 1e-2, log = true}`.
      dataset: `auto` takes SVHN where it is prepared or can be fetched, and otherwise the embedded digits, with a
        warning.
      data_dir: folder with a local copy of SVHN, the official `.mat` pair or an `.npz` pair.
      train_size: training images, all by default.
      test_size: test images, all by default.
      data_seed: seed of the embedded digits and of subsets.
      validation_size: training digits that are held out, and by which settings are ranked; never trained on.
      erase: the toy anomaly (section IV.A).
      vae: the network, where no axis says otherwise.
      train: its training, where no axis says otherwise.
      group_size: trials in a program, at most; lower it where the device's memory is too small.
      cluster: `ray` hands groups to the Ray cluster at `RAY_ADDRESS`, or to a local one that is started for it; the
        driver alone writes the table.
      cpus_per_group: processors that a group asks Ray for, where the cluster has no accelerators; otherwise it asks for
        one accelerator.
      attempts: how often a trial is begun whose worker died, at most; the last time alone, so that it fails by itself.
      retry_failed: train those again that failed before.
      checkpoints: keep checkpoints of a group while it trains, so that it goes on where it was killed. On a cluster the
        runs' folder must be one that all machines share.
      lease_seconds: after how long without a sign of life another process takes up a process's trials.
      table: the table of trials; by default `trials.sqlite` in the run's folder. Sweeps may share one.
      csv: write the sweep's trials as `trials.csv` as well.
      runs_dir: folder of all runs.
      name: folder of this run in it; by default preset and data set.
      progress: show progress bars.
    """

    preset: Literal["quick", "paper"] = "quick"
    search: Literal["grid", "random", "tpe"] = "grid"
    trials: int = 20
    generation: int = 8
    search_seed: int = 0
    objective: Term = "m"
    seeds: tuple[int, ...] = (0, 1, 2)
    latent_dim: tuple[int, ...] = ()
    base_channels: tuple[int, ...] = ()
    depth: tuple[int, ...] = ()
    learning_rate: tuple[float, ...] = ()
    weight_decay: tuple[float, ...] = ()
    kl_weight: tuple[float, ...] = ()
    space: Path | None = None
    dataset: Literal["auto", "svhn", "synth_digits"] = "auto"
    data_dir: Path | None = None
    train_size: int | None = None
    test_size: int | None = None
    data_seed: int = 0
    validation_size: int = 1000
    erase: EraseConfig = EraseConfig()
    vae: ju.VAEConfig = ju.VAEConfig()
    train: ju.TrainConfig = ju.TrainConfig()
    group_size: int = 16
    cluster: Literal["none", "ray"] = "none"
    cpus_per_group: int = 1
    attempts: int = 5
    retry_failed: bool = False
    checkpoints: bool = True
    lease_seconds: float = 60.0
    table: Path | None = None
    csv: bool = False
    runs_dir: Path = Path("runs")
    name: str | None = None
    progress: bool = True

    def __post_init__(self) -> None:
        for name in ("group_size", "cpus_per_group", "attempts"):
            if getattr(self, name) < 1:
                raise ValueError(f"got {name}={getattr(self, name)}; expected at least 1")

    @property
    def directory(self) -> Path:
        """Where the run's files go."""
        return self.runs_dir / EXPERIMENT / (self.name or f"{self.preset}-{self.dataset}")


PRESETS = {
    "quick": SweepConfig(
        preset="quick",
        train_size=10_000,
        test_size=2_000,
        latent_dim=(4, 16, 64),
        seeds=(0, 1, 2),
        vae=ju.VAEConfig(base_channels=8, latent_dim=64),
        train=ju.TrainConfig(steps=1_000, batch_size=64, evaluate_every=500, checkpoint_every=250),
    ),
    "paper": SweepConfig(
        preset="paper",
        latent_dim=(5, 20, 100, 500),
        seeds=(0, 1, 2, 3, 4),
        vae=ju.VAEConfig(base_channels=32, latent_dim=500),
        train=ju.TrainConfig(steps=3_000, evaluate_every=1_000, checkpoint_every=250),
    ),
}

BASE = ("dataset", "data_dir", "train_size", "test_size", "data_seed", "validation_size", "erase", "vae", "train")
"""Settings that all trials of a run share; the others may change when it is started again."""

SweepRun: TypeAlias = Run[SweepConfig]


def main(args: list[str] | None = None) -> Path:
    """Run the sweep; returns the path of the page."""
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
    results = sweep_page.summarise(run.record, space, trials)
    results["timings"] = {"this_invocation": time.perf_counter() - began}
    run.write_json("results.json", results)
    if config.csv:
        sweep_page.write_csv(run.directory / "trials.csv", trials)
    path = sweep_page.draw(run.directory, run.record["config"], space, trials, results)
    console.print(f"results: {run.directory / 'results.json'}", markup=False)
    print(path)
    return path


def parse(args: list[str]) -> SweepConfig:
    """The config from the command line: the preset's, with the options put over it."""
    return runs.parse(PRESETS, args, experiment=EXPERIMENT, description=__doc__)


def open_run(config: SweepConfig, args: list[str]) -> SweepRun:
    """Make the run's folder, or go on in it if all trials can share what they share."""
    free = {field.name for field in dataclasses.fields(config)} - {*BASE}
    return runs.open_run(config.directory, config, args, experiment=EXPERIMENT, free=free)


def declared_space(config: SweepConfig) -> Space:
    """The space of the options, or of the file that they name.

    Raises:
      OSError, TypeError, ValueError: see `read_space`.
    """
    if config.space is not None:
        return read_space(config.space, config.seeds)
    return Space({name: getattr(config, name) for name in AXES if getattr(config, name)}, config.seeds)


def make_executor(config: SweepConfig) -> Executor:
    """Where groups are trained.

    Raises:
      RunError: Ray is asked for and not installed.
    """
    if config.cluster == "ray":
        return RayExecutor(progress=config.progress, cpus_per_group=config.cpus_per_group)
    return LocalExecutor(progress=config.progress)


def make_search(config: SweepConfig, space: Space) -> Search:
    """What asks for settings."""
    if config.search == "grid":
        return Grid(space)
    return OptunaSearch(
        space, config.search, trials=config.trials, generation=config.generation, seed=config.search_seed
    )


def trial_config(config: SweepConfig, data: Data, setting: Setting, seed: int) -> dict[str, Any]:
    """All that a trial's numbers depend on, JSON data. Nothing is checked: a trial that cannot be built shall fail."""
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


def run_trials(
    config: SweepConfig,
    table: TrialTable,
    executor: Executor,
    configs: Sequence[dict[str, Any]],
    directory: Path | None,
) -> list[Trial]:
    """Train all trials that nobody has trained or is training, wait for those of others, and read what came of them."""
    left: dict[str, dict[str, Any]] = {trial_id(each): each for each in configs}
    keys, retry, waiting = set(left), config.retry_failed, False
    while left:
        groups, broken = group_trials(list(left.values()), group_size=config.group_size, workers=executor.workers)
        for outcome in broken:
            if table.claim([left[outcome.key]], retry_failed=retry, attempts=config.attempts):
                _record(table, [outcome])
        _run_groups(config, table, executor, deque(groups), directory, retry)
        retry = False
        now = time.time()
        claimed = [trial for trial in table.trials(keys) if trial.state == "claimed"]
        left = {trial.id: trial.config for trial in claimed if trial.lease < now}
        if claimed and not left:
            if not waiting:
                owners = ", ".join(sorted({trial.owner for trial in claimed}))
                console.print(f"waiting for {len(claimed)} trials of {owners}", markup=False)
            waiting = True
            time.sleep(min(1.0, max(0.01, min(trial.lease for trial in claimed) - now)))
            left = {trial.id: trial.config for trial in claimed}
    return table.trials(keys)


def _run_groups(
    config: SweepConfig,
    table: TrialTable,
    executor: Executor,
    groups: deque[Group],
    directory: Path | None,
    retry_failed: bool,
) -> None:
    # Those whose worker died; they are claimed already.
    again: deque[Group] = deque()
    running = 0
    while groups or again or running:
        # Claimed when it can begin and not before, so that other processes find work as well.
        while (groups or again) and running < executor.workers:
            if again:
                group = again.popleft()
                table.begin_again(group.keys)
            else:
                group = groups.popleft()
                mine = set(table.claim(group.configs, retry_failed=retry_failed, attempts=config.attempts))
                if not mine:
                    continue
                group = group.part([index for index, key in enumerate(group.keys) if key in mine])
            executor.submit(group)
            running += 1
        if not running:
            break
        group, outcomes = executor.wait()
        running -= 1
        if not isinstance(outcomes, str):
            _record(table, outcomes)
            if directory is not None:
                remove_checkpoints(directory, group)
            if config.progress:
                left = len(groups) + len(again) + running
                console.print(f"{len(outcomes)} trials are through; {left} groups are left")
            continue
        console.print(f"[yellow]the worker of {len(group.members)} trials died: {escape(outcomes)}", highlight=False)
        # That is the machine's fault until it has happened often; then a trial's, found by the last attempt, alone.
        begun = {trial.id: trial.attempts for trial in table.trials(set(group.keys)) if _is_held(table, trial)}
        together = []
        for index, key in enumerate(group.keys):
            if key not in begun:
                continue
            if begun[key] >= config.attempts:
                _record(table, [Outcome(key, None, f"the worker died {begun[key]} times: {outcomes}")])
            elif begun[key] == config.attempts - 1:
                again.append(group.part([index]))
            else:
                together.append(index)
        if together:
            again.append(group.part(together))


def _is_held(table: TrialTable, trial: Trial) -> bool:
    return trial.state == "claimed" and trial.owner == table.owner


def _record(table: TrialTable, outcomes: Iterable[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.result is not None:
            written = table.finish(outcome.key, outcome.result)
        else:
            written = table.fail(outcome.key, outcome.error or "")
            console.print(
                f"[red]trial {outcome.key[:8]} failed:[/] {escape(outcome.error or '')}",
                highlight=False,
                soft_wrap=True,
            )
        if not written:
            console.print(f"trial {outcome.key[:8]} had been taken up by another process, whose result counts")


def value_of(config: SweepConfig, space: Space, trials: Sequence[Trial], setting: Setting) -> float | None:
    """A setting's AUC on the validation digits, as the mean over seeds; None if it failed under any of them."""
    found = [trial for trial in trials if sweep_page.setting_of(trial.config, space.axes) == setting]
    values = [trial.result["auc"]["validation"][config.objective] for trial in found if trial.result is not None]
    return statistics.fmean(values) if values and len(values) == len(found) else None


if __name__ == "__main__":
    runs.run_command(main)
