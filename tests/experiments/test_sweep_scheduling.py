"""How trials are shared out between processes, and what happens when a worker dies."""

import threading
import time

import pytest

from experiments import commands, runs
from experiments.sweep.config import SweepConfig
from experiments.sweep.groups import Group, Outcome
from experiments.sweep.scheduling import record, run_trials
from experiments.sweep.trials import TrialTable, trial_id
from tests.experiments.sweep_stand_ins import Workers, result_of, trial

BRACKETS = "got [/job:worker/task:0] of shape [4, 4]; expected [batch, height, width, channels]"
"""Would be taken for markup; the first is a closing tag of nothing."""


def on_stderr(capsys) -> str:
    return " ".join(capsys.readouterr().err.split())


def test_square_brackets_in_an_error_are_printed_as_they_are(tmp_path, capsys):
    def fail() -> None:
        raise runs.RunError(BRACKETS)

    with pytest.raises(SystemExit, match="1"):
        commands.run_command(fail, SweepConfig)
    assert on_stderr(capsys) == f"error: {BRACKETS}"

    (key,) = TrialTable(tmp_path / "trials.sqlite").claim([trial(0)])
    record(TrialTable(tmp_path / "trials.sqlite"), [Outcome(key, None, BRACKETS)])
    assert f"trial {key[:8]} failed: {BRACKETS}" in on_stderr(capsys)


def test_square_brackets_in_what_a_dead_worker_left_are_printed_as_they_are(tmp_path, capsys):
    class Dying(Workers):
        def wait(self) -> tuple[Group, str]:
            return self.groups.pop(0), BRACKETS

    table = TrialTable(tmp_path / "trials.sqlite")
    run_trials(SweepConfig(attempts=1), table, Dying(1, {}), [trial(0)], None)
    assert f"the worker of 1 trials died: {BRACKETS}" in on_stderr(capsys)


def test_a_worker_that_dies_is_replaced_and_a_trial_that_kills_its_workers_is_found(tmp_path):
    configs = [trial(seed) for seed in range(8)]
    keys = list(map(trial_id, configs))
    # One dies once, as machines do; the other kills whoever takes it up.
    workers = Workers(2, {keys[0]: 1, keys[6]: 10**6})
    table = TrialTable(tmp_path / "trials.sqlite")
    trials = run_trials(SweepConfig(attempts=2, group_size=4), table, workers, configs, None)
    states = {trial.id: trial.state for trial in trials}
    assert states == {**dict.fromkeys(keys, "done"), keys[6]: "failed"}
    by_key = {trial.id: trial for trial in trials}
    assert by_key[keys[6]].error == "the worker died 2 times: killed"
    assert [by_key[key].attempts for key in keys[:4]] == [2, 2, 2, 2]
    assert workers.most == 2


@pytest.mark.parametrize(("attempts", "size", "begun"), [(1, 4, 1), (2, 4, 2), (5, 3, 5)])
def test_no_trial_is_begun_more_often_than_allowed(tmp_path, attempts, size, begun):
    configs = [trial(seed) for seed in range(size)]
    keys = list(map(trial_id, configs))
    workers = Workers(1, dict.fromkeys(keys, 10**6))
    table = TrialTable(tmp_path / "trials.sqlite")
    trials = run_trials(SweepConfig(attempts=attempts), table, workers, configs, None)
    assert {key: workers.begun.count(key) for key in keys} == dict.fromkeys(keys, begun)
    assert {found.attempts for found in trials} == {begun}
    assert {found.error for found in trials} == {f"the worker died {begun} times: killed"}


def test_a_trial_that_another_process_took_up_is_not_begun_again(tmp_path):
    configs = [trial(0), trial(1)]
    path = tmp_path / "trials.sqlite"
    other = TrialTable(path)

    class Late(Workers):
        def wait(self) -> tuple[Group, list[Outcome] | str]:
            if len(self.begun) == 2:
                time.sleep(0.3)
                other.claim(configs[:1])
                other.finish(trial_id(configs[0]), result_of(configs[0]))
            return super().wait()

    workers = Late(1, dict.fromkeys(map(trial_id, configs), 1))
    trials = run_trials(SweepConfig(), TrialTable(path, lease_seconds=0.2), workers, configs, None)
    assert [found.state for found in trials] == ["done", "done"]
    assert [workers.begun.count(trial_id(config)) for config in configs] == [1, 3]


def test_trials_of_a_process_that_died_are_taken_up_and_those_of_a_living_one_are_waited_for(tmp_path):
    configs = [trial(seed) for seed in range(3)]
    path = tmp_path / "trials.sqlite"
    dead, living = TrialTable(path, lease_seconds=0.3), TrialTable(path)
    dead.claim(configs[:1])
    living.claim(configs[1:2])
    threading.Timer(0.8, lambda: living.finish(trial_id(configs[1]), result_of(configs[1]))).start()
    workers = Workers(1, {})
    trials = run_trials(SweepConfig(), table := TrialTable(path), workers, configs, None)
    assert [trial.state for trial in trials] == ["done"] * 3
    assert [trial.owner for trial in trials] == [table.owner, living.owner, table.owner]
    assert sorted(workers.begun) == sorted([trial_id(configs[0]), trial_id(configs[2])])
