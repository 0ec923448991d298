"""Several processes on loopback: they train and score as one, a death ends them all, and they go on after it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

import jaxunreg as ju

pytestmark = pytest.mark.slow

MODEL = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
CONFIG = ju.TrainConfig(steps=10, batch_size=8, steps_per_dispatch=4, checkpoint_every=4, evaluate_every=6)
HEARTBEAT = 10


def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(21, 8, 8, 1), dtype=np.uint8)


# What a user's own program looks like, but for `start`'s arguments and what goes wrong.
PROGRAM = """
import os, signal, sys
import jax, numpy as np
sys.path.insert(0, {root!r})
import jaxunreg as ju
from jaxunreg import parallel
from tests.parallel.test_processes import CONFIG, HEARTBEAT, MODEL, images

folder, dies, address, process = sys.argv[1], sys.argv[2] == "dies", *sys.argv[3:]
found = () if address == "slurm" else (address, 2, int(process))
parallel.start(*found, heartbeat_seconds=HEARTBEAT)
assert (jax.process_count(), jax.device_count(), jax.local_device_count()) == (2, 4, 2)
first = jax.process_index() == 0


def evaluate(variables):
    if dies and not first:
        os.kill(os.getpid(), signal.SIGKILL)
    return {{}}


def fit(images, directory=folder + "/run"):
    key = jax.random.key(0)
    return ju.fit(MODEL, images, CONFIG, key=key, directory=directory, evaluate=evaluate, progress=False)


if not dies:
    for wrong in ((images() + np.uint8(not first), folder + "/other"), (images(), __file__ if first else folder)):
        try:
            fit(*wrong)
        except Exception as error:
            print("refused", type(error).__name__, error, flush=True)
state = fit(images())
shard = ju.sharded_scorer(ju.make_scorer(MODEL, state.variables), jax.devices(), batch_size=4)
terms = parallel.gather(shard(images()[parallel.share(len(images()))]))
wide = parallel.gather({{"id": np.full(1 + first, 2**40 + first), "value": np.array([[1e300], [1 / 3]])}})
if first:
    leaves = map(np.asarray, jax.tree.leaves(state.variables))
    np.savez(folder + "/result.npz", *leaves, d=terms.d, a=terms.a, m=terms.m, **wide)
    print("done", flush=True)
else:
    raise OSError("the disk of this process is gone")
parallel.gather(np.zeros(1))
"""


def launch(folder: Path, fate: str, *, slurm: bool = False) -> list[subprocess.Popen]:
    """Two processes with two devices each."""
    # SLURM's coordinator listens on a port that JAX derives from the number of the job.
    port = free_port(range(61440, 65536) if slurm else range(20000, 60000))
    (folder / "program.py").write_text(PROGRAM.format(root=str(Path(__file__).parents[2])))
    children = []
    for process in range(2):
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SLURM_")},
            "XLA_FLAGS": re.sub("device_count=[0-9]+", "device_count=2", os.environ["XLA_FLAGS"]),
            "JAX_COMPILATION_CACHE_DIR": str(folder / "cache"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        }
        if slurm:
            environment |= {"SLURM_JOB_ID": str(port - 61440), "SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_NTASKS": "2"}
            environment |= {"SLURM_PROCID": str(process), "SLURM_LOCALID": str(process)}
        where = ["slurm", ""] if slurm else [f"127.0.0.1:{port}", str(process)]
        command = [sys.executable, str(folder / "program.py"), str(folder), fate, *where]
        with (folder / f"output{process}").open("w") as output:
            child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        children.append(child)
    return children


def free_port(candidates: range) -> int:
    for port in np.random.default_rng().permutation(candidates).tolist():
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError("no free port")


def ended(folder: Path, fate: str, **options) -> tuple[list[int], list[str], float]:
    """Exit codes, outputs, and the seconds by which the first process outlived the second."""
    for _ in range(3):
        children = launch(folder, fate, **options)
        try:
            children[1].wait(timeout=240)
            began = time.monotonic()
            children[0].wait(timeout=240)
            outlived = time.monotonic() - began
        finally:
            for child in children:
                child.kill()
                child.wait()
        outputs = [(folder / f"output{process}").read_text() for process in range(2)]
        # Between the probe and its use another may take the port.
        if not re.search("[Aa]ddress already in use|Failed to bind", "".join(outputs)):
            break
    return [child.returncode for child in children], outputs, outlived


def records(run: Path) -> list[dict]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [record for record in lines if "loss" in record]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("processes")


def test_a_process_that_is_killed_ends_the_other_and_the_checkpoint_stays(folder):
    (code, killed), outputs, outlived = ended(folder, "dies")
    assert killed == -signal.SIGKILL, outputs
    assert code != 0, outputs
    assert outlived < HEARTBEAT + 30
    assert "done" not in outputs[0]
    assert [path.name for path in (folder / "run" / "checkpoints").iterdir()] == ["4"]


def test_started_again_two_processes_end_where_one_ends(folder):
    """They find each other as under SLURM, go on from step 4, and score; then one ends with an error of its own."""
    if not (folder / "run" / "checkpoints").exists():
        pytest.skip("goes on where the test before stopped")
    codes, outputs, outlived = ended(folder, "lives", slurm=True)
    assert "done" in outputs[0], outputs
    # The program's own error is shown and ends it at once; the other, which waits for it, ends as well.
    assert codes[1] == 1
    assert "the disk of this process is gone" in outputs[1]
    assert codes[0] != 0
    assert outlived < HEARTBEAT + 30

    alone = ju.fit(
        MODEL, images(), CONFIG, key=jax.random.key(0), devices=jax.devices()[:4], directory=folder / "alone",
        progress=False,
    )  # fmt: skip
    result = np.load(folder / "result.npz")
    leaves = [result[f"arr_{k}"] for k in range(len(result.files) - 5)]
    # Rounding, which Adam can enlarge to a small part of its step of 1e-3.
    chex.assert_trees_all_close(leaves, jax.tree.leaves(alone.variables), rtol=1e-4, atol=1e-5)
    terms = ju.score_images(ju.make_scorer(MODEL, alone.variables), images())
    chex.assert_trees_all_close(ju.Decomposition(result["d"], result["a"], result["m"]), terms, rtol=1e-3)
    assert result["id"].tolist() == [2**40 + 1, 2**40 + 1, 2**40]
    assert result["value"].tolist() == [[1e300], [1 / 3], [1e300], [1 / 3]]
    steps, wanted = records(folder / "run"), records(folder / "alone")
    assert [record["step"] for record in steps] == list(range(1, 11))
    np.testing.assert_allclose([r["loss"] for r in steps], [r["loss"] for r in wanted], rtol=1e-4)

    # Before that: other images in one of them, and a folder that the first cannot use.
    refused = [re.findall(r"refused (\w+) (.*)", output) for output in outputs]
    for process in range(2):
        assert refused[process][0][0] == "ArgumentError"
        assert "images in the processes [1] than in process 0" in refused[process][0][1]
    assert [refused[process][1][0] for process in range(2)] == ["CheckpointError", "ProcessError"]
    assert "process 0: CheckpointError: got" in refused[1][1][1]
