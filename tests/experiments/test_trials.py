"""The table of trials: who gets which trial, what a dead owner leaves behind, and several who write at once."""

import collections
import hashlib
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from experiments.sweep.trials import TrialTable, TrialTableError, trial_id

CONFIGS = [{"seed": seed, "network": {"latent_dim": 4}} for seed in range(3)]
KEYS = [trial_id(config) for config in CONFIGS]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "trials.sqlite"


def test_the_id_is_the_sha256_of_the_sorted_json():
    text = '{"network": {"latent_dim": 4}, "seed": 0}'
    assert trial_id(CONFIGS[0]) == hashlib.sha256(text.encode()).hexdigest()
    assert len(set(KEYS)) == 3
    assert trial_id({"seed": 0, "size": (1, 2)}) == trial_id({"size": [1, 2], "seed": 0})


def test_a_trial_belongs_to_the_first_who_claims_it(path):
    first, second = TrialTable(path), TrialTable(path)
    assert first.owner != second.owner
    assert first.claim(CONFIGS[:2]) == KEYS[:2]
    assert second.claim(CONFIGS) == KEYS[2:]
    assert first.claim(CONFIGS) == []
    assert [trial.owner for trial in first.trials()] == [first.owner, first.owner, second.owner]


def test_what_is_done_or_failed_is_never_claimed_again(path):
    table = TrialTable(path)
    table.claim(CONFIGS)
    assert table.finish(KEYS[0], {"auc": 0.75})
    assert table.fail(KEYS[1], "ValueError: too small")
    table.release()
    assert TrialTable(path).claim(CONFIGS) == KEYS[2:]
    done, failed, _ = table.trials()
    assert (done.state, done.result, done.error) == ("done", {"auc": 0.75}, None)
    assert (failed.state, failed.result, failed.error) == ("failed", None, "ValueError: too small")
    assert done.finished >= done.claimed


def test_what_failed_can_be_tried_again_and_what_is_done_cannot(path):
    table = TrialTable(path)
    table.claim(CONFIGS)
    table.finish(KEYS[0], {})
    table.fail(KEYS[1], "no memory")
    assert table.claim(CONFIGS, retry_failed=True) == [KEYS[1]]
    assert table.trials([KEYS[1]])[0].error is None
    assert table.finish(KEYS[1], {"auc": 0.5})


def test_a_result_counts_once(path):
    table, other = TrialTable(path), TrialTable(path)
    table.claim(CONFIGS[:1])
    assert not other.finish(KEYS[0], {"auc": 0.0})
    assert table.finish(KEYS[0], {"auc": 0.5})
    assert not table.finish(KEYS[0], {"auc": 1.0})
    assert not table.fail(KEYS[0], "late")
    assert table.trials()[0].result == {"auc": 0.5}


def test_trials_of_a_dead_owner_are_taken_up_when_its_lease_has_run_out(path):
    dead, alive = TrialTable(path, lease_seconds=0.2), TrialTable(path)
    dead.claim(CONFIGS[:1])
    assert alive.claim(CONFIGS[:1]) == []
    time.sleep(0.25)
    assert alive.claim(CONFIGS[:1]) == KEYS[:1]
    assert alive.trials()[0].attempts == 2
    # It was only asleep: its result comes too late.
    assert not dead.finish(KEYS[0], {"auc": 0.0})
    assert alive.finish(KEYS[0], {"auc": 1.0})


def test_a_renewed_lease_holds_and_is_given_back_in_the_end(path):
    owner, other = TrialTable(path, lease_seconds=0.4), TrialTable(path)
    with owner.renewing():
        owner.claim(CONFIGS[:1])
        time.sleep(1.0)
        assert other.claim(CONFIGS[:1]) == []
    assert other.claim(CONFIGS[:1]) == KEYS[:1]
    # Given back in order, the first attempt does not count.
    assert other.trials()[0].attempts == 1


def test_a_trial_whose_owners_all_died_is_given_up(path):
    for attempt in (1, 2):
        dead = TrialTable(path, lease_seconds=0.01)
        assert dead.claim(CONFIGS[:1], attempts=2) == KEYS[:1]
        assert dead.trials()[0].attempts == attempt
        time.sleep(0.02)
    assert TrialTable(path).claim(CONFIGS[:1], attempts=2) == []
    (trial,) = TrialTable(path).trials()
    assert trial.state == "failed"
    assert "begun 2 times" in trial.error


def test_threads_share_the_trials_without_gap_or_overlap(path):
    configs = [{"seed": seed} for seed in range(40)]
    tables = [TrialTable(path) for _ in range(4)]
    got: list[list[str]] = [[] for _ in tables]

    def work(index: int) -> None:
        for start in range(0, 40, 4):
            for key in tables[index].claim(configs[start : start + 4]):
                assert tables[index].finish(key, {"by": index})
                got[index].append(key)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert collections.Counter(key for keys in got for key in keys) == dict.fromkeys(map(trial_id, configs), 1)
    assert all(trial.id in got[trial.result["by"]] for trial in tables[0].trials())


WORK = """
import sys
from pathlib import Path
from experiments.sweep.trials import TrialTable

table = TrialTable(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for seed in range(60):
    for key in table.claim([{"seed": seed}]):
        assert table.finish(key, {"by": sys.argv[2]})
        print(key)
"""


def test_processes_share_the_trials_without_gap_or_overlap(path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(path), name],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    got = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert collections.Counter([*got[0], *got[1]]) == {trial_id({"seed": seed}): 1 for seed in range(60)}
    by = {trial.id: trial.result["by"] for trial in TrialTable(path).trials()}
    assert by == {**dict.fromkeys(got[0], "a"), **dict.fromkeys(got[1], "b")}


def test_the_database_itself_refuses_a_second_row_and_half_a_result(path):
    table = TrialTable(path)
    table.claim(CONFIGS[:1])
    row = (KEYS[0], "{}", "claimed", "me", 0.0, 1, 0.0, None)
    insert = "INSERT INTO trials (id, config, state, owner, lease, attempts, claimed, result) VALUES (?,?,?,?,?,?,?,?)"
    connection = sqlite3.connect(path)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        connection.execute(insert, row)
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        connection.execute(insert, ("other", "{}", "done", "me", 0.0, 1, 0.0, None))
    connection.close()


def test_a_reader_that_holds_the_table_makes_a_writer_wait_and_not_fail(path):
    table = TrialTable(path)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    threading.Timer(0.3, lambda: connection.execute("COMMIT")).start()
    began = time.monotonic()
    assert table.claim(CONFIGS[:1]) == KEYS[:1]
    assert time.monotonic() - began > 0.25
    connection.close()


@pytest.mark.parametrize("content", [b"a text", None])
def test_a_file_that_is_something_else_is_refused_and_left_alone(path, content):
    if content is None:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE thesis (chapter)")
        connection.close()
    else:
        path.write_bytes(content * 1000)
    before = path.read_bytes()
    with pytest.raises(TrialTableError, match="trials.sqlite.*choose another file"):
        TrialTable(path)
    assert path.read_bytes() == before


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(TrialTableError, match="nowhere"):
        TrialTable(tmp_path / "nowhere" / "trials.sqlite")


def test_a_lease_of_no_time_is_refused(path):
    with pytest.raises(ValueError, match="got lease_seconds=0"):
        TrialTable(path, lease_seconds=0)


def test_a_result_must_be_json(path):
    table = TrialTable(path)
    table.claim(CONFIGS[:1])
    with pytest.raises(ValueError, match="JSON"):
        table.finish(KEYS[0], {"auc": float("nan")})
    assert table.trials()[0].state == "claimed"
