"""The distribution of trials to processes and workers, and the handling of workers that die."""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape

from ..commands import console
from .config import SweepConfig
from .executors import Executor
from .groups import Group, Outcome, group_trials
from .training import remove_checkpoints
from .trials import Trial, TrialTable, trial_id


def run_trials(
    config: SweepConfig,
    table: TrialTable,
    executor: Executor,
    configs: Sequence[dict[str, Any]],
    directory: Path | None,
) -> list[Trial]:
    """Train the trials that no process has trained or is training, wait for the others, and read all results."""
    left: dict[str, dict[str, Any]] = {trial_id(each): each for each in configs}
    keys, retry, waiting = set(left), config.retry_failed, False
    while left:
        groups, broken = group_trials(list(left.values()), group_size=config.group_size, workers=executor.workers)
        for outcome in broken:
            if table.claim([left[outcome.key]], retry_failed=retry, attempts=config.attempts):
                record(table, [outcome])
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
    # Groups whose worker died. Their trials are already claimed.
    again: deque[Group] = deque()
    running = 0
    while groups or again or running:
        # A group is claimed only when it can begin, so that other processes find work too.
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
            record(table, outcomes)
            if directory is not None:
                remove_checkpoints(directory, group)
            if config.progress:
                left = len(groups) + len(again) + running
                console.print(f"{len(outcomes)} trials are through; {left} groups are left")
            continue
        console.print(f"[yellow]the worker of {len(group.members)} trials died: {escape(outcomes)}", highlight=False)
        # At first, the machine may be the cause. A trial that was started often runs alone, which finds the one that
        # kills.
        begun = {trial.id: trial.attempts for trial in table.trials(set(group.keys)) if _is_held(table, trial)}
        together = []
        for index, key in enumerate(group.keys):
            if key not in begun:
                continue
            if begun[key] >= config.attempts:
                record(table, [Outcome(key, None, f"the worker died {begun[key]} times: {outcomes}")])
            elif begun[key] == config.attempts - 1:
                again.append(group.part([index]))
            else:
                together.append(index)
        if together:
            again.append(group.part(together))


def _is_held(table: TrialTable, trial: Trial) -> bool:
    return trial.state == "claimed" and trial.owner == table.owner


def record(table: TrialTable, outcomes: Iterable[Outcome]) -> None:
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
