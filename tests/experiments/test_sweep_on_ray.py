"""A sweep on a real Ray cluster. One of its workers is killed."""

import ipaddress
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from experiments.sweep.config import SweepConfig
from experiments.sweep.groups import Images
from experiments.sweep.ray_executor import RayExecutor
from experiments.sweep.scheduling import run_trials
from experiments.sweep.trials import TrialTable, trial_id
from tests.experiments.sweep_stand_ins import trial

pytestmark = pytest.mark.slow


@pytest.fixture
def local_cluster(monkeypatch, tmp_path):
    """A real Ray cluster of this machine, with two workers."""
    # It must not report home, and must not leave a token in the user's folder.
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    # Workers compile in half the time, and one that takes the place of another reads what that one compiled.
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    ray = pytest.importorskip("ray", reason="there is no Ray for this version of Python")
    with warnings.catch_warnings():
        # Tests before this one have started JAX; the forked processes become Ray's at once.
        warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=80 * 2**20,
            log_to_driver=False,
            logging_level="error",
        )
    yield ray
    ray.shutdown()


def test_a_worker_of_a_ray_cluster_is_killed_and_every_result_is_there_once(local_cluster, tmp_path):
    rng = np.random.default_rng(0)
    images = Images(*(rng.integers(0, 256, (count, 4, 4, 1), np.uint8) for count in (64, 16, 16, 16, 16)))
    steps = {"steps": 4000, "steps_per_dispatch": 100, "checkpoint_every": 1000}
    configs = [trial(seed, **steps) for seed in range(8)]
    config = SweepConfig(group_size=2, cluster="ray")
    table = TrialTable(tmp_path / "trials.sqlite")
    directory = tmp_path / "groups"
    killed: list[tuple[str, int]] = []

    def kill() -> None:
        """Kill the first worker that is in the middle of its training."""
        while not killed:
            for log in directory.glob("*/part-000/metrics.jsonl"):
                folder = log.parents[1]
                if 1000 < log.read_text().count("\n") < 3000:
                    worker = json.loads((folder / "worker.json").read_text())
                    os.kill(worker["pid"], signal.SIGKILL)
                    killed.append((folder.name, worker["pid"]))
                    return
            time.sleep(0.01)

    killer = threading.Thread(target=kill, daemon=True)
    with RayExecutor(progress=False, cpus_per_group=1) as executor, table.renewing():
        assert executor.workers == 2
        executor.prepare(images, directory)
        killer.start()
        trials = run_trials(config, table, executor, configs, directory)
        killer.join(timeout=10)
        # Nothing is left to do.
        assert run_trials(config, table, executor, configs, directory) == trials

    assert sorted(trial.id for trial in trials) == sorted(map(trial_id, configs))
    assert [trial.state for trial in trials] == ["done"] * 8
    ((name, pid),) = killed
    assert pid != os.getpid()
    workers = {trial.id: int(trial.result["worker"].rsplit(":", 1)[1]) for trial in trials}
    assert os.getpid() not in workers.values()
    assert len(set(workers.values())) >= 2
    again = [trial for trial in trials if trial.attempts == 2]
    assert [trial.result["group"] for trial in again] == [name, name]
    assert all(workers[trial.id] != pid for trial in again)
    assert all(trial.attempts == 1 for trial in trials if trial not in again)
    for found in trials:
        assert all(0 <= auc <= 1 for split in found.result["auc"].values() for auc in split.values())


LISTENS = """
import json, os, psutil
from experiments.sweep.ray_executor import RayExecutor
with RayExecutor(progress=False, cpus_per_group=1) as executor:
    me = psutil.Process()
    processes = [me, *me.children(recursive=True)]
    found = [c.laddr.ip for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    mode = os.environ["RAY_AUTH_MODE"], len(os.environ["RAY_AUTH_TOKEN"])
print(json.dumps([found, mode, sorted(name for name in os.environ if name.startswith("RAY_AUTH"))]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Ray listens on the loopback interface on its own")
def test_a_cluster_of_this_machine_is_for_its_user_alone():
    pytest.importorskip("ray", reason="there is no Ray for this version of Python")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(Path(__file__).parents[2])}
    program = [sys.executable, "-W", "ignore", "-c", LISTENS]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300, check=True)
    addresses, mode, left = json.loads(done.stdout.splitlines()[-1])
    assert len(addresses) >= 3  # Head and raylet at least, or none was seen.
    assert all(ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback for address in addresses), addresses
    assert mode == ["token", 64]
    assert left == []
