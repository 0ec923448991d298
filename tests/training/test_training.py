"""Training: the optimizer against PyTorch's definition, one compilation, resume after SIGKILL, and every stop."""

import dataclasses
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxunreg as ju
from jaxunreg.training import run
from jaxunreg.training import step as step_module
from jaxunreg.training.batches import batch_indices
from jaxunreg.training.optimizer import make_optimizer
from jaxunreg.training.state import init_state
from jaxunreg.training.step import train_step, train_steps

pytestmark = pytest.mark.slow

MODEL = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
CONFIG = ju.TrainConfig(
    steps=12, batch_size=4, steps_per_dispatch=4, evaluate_every=5, checkpoint_every=6, warmup_steps=2
)


def images(n: int = 10) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(n, 8, 8, 1), dtype=np.uint8)


def fit(config: ju.TrainConfig = CONFIG, **options) -> ju.TrainState:
    return ju.fit(MODEL, options.pop("images", images()), config, key=jax.random.key(0), progress=False, **options)


jitted_step = jax.jit(train_step, static_argnums=(0, 1))


def records(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_the_optimizer_is_pytorchs_adam_with_weight_decay():
    """torch.optim.Adam(weight_decay=...), written out in NumPy from its documentation."""
    config = ju.TrainConfig(steps=100, learning_rate=0.01, weight_decay=0.1, schedule="constant")
    optimizer, rng = make_optimizer(config), np.random.default_rng(0)
    w = rng.normal(size=5)
    params = {"w": jnp.asarray(w, jnp.float32)}
    state, m, v = optimizer.init(params), np.zeros(5), np.zeros(5)
    for t in range(1, 6):
        gradient = rng.normal(size=5)
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update({"w": jnp.asarray(gradient, jnp.float32)}, state, params)
        params = {"w": params["w"] + updates["w"]}
        g = gradient + config.weight_decay * w
        m, v = config.b1 * m + (1 - config.b1) * g, config.b2 * v + (1 - config.b2) * g**2
        w = w - config.learning_rate * (m / (1 - config.b1**t)) / (np.sqrt(v / (1 - config.b2**t)) + 1e-8)
        np.testing.assert_allclose(params["w"], w, rtol=1e-4)


def test_another_seed_of_an_equal_model_compiles_nothing(compiled):
    another = ju.VAE(dataclasses.replace(MODEL.config, latent_dim=7))
    compiled.clear()
    first = init_state(another, CONFIG, jax.random.key(0)).variables["params"]
    assert compiled
    compiled.clear()
    other = init_state(ju.VAE(another.config), CONFIG, jax.random.key(1)).variables["params"]
    assert not compiled
    assert not np.array_equal(jax.tree.leaves(first)[1], jax.tree.leaves(other)[1])


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"schedule": "constant"}, [1, 1, 1, 1]),
        ({"schedule": "constant", "warmup_steps": 4}, [0, 0.25, 0.5, 0.75]),
        ({"schedule": "cosine"}, [0.5 * (1 + np.cos(np.pi * k / 8)) for k in range(4)]),
        ({"schedule": "cosine", "warmup_steps": 2}, [0, 0.5, 1, 0.5 * (1 + np.cos(np.pi / 6))]),
    ],
)
def test_the_learning_rate_follows_its_schedule(fields, wanted):
    # With a constant gradient Adam's step is the learning rate itself.
    optimizer = make_optimizer(ju.TrainConfig(steps=8, weight_decay=0.0, learning_rate=0.1, **fields))
    params = {"w": jnp.ones(1)}
    state, steps = optimizer.init(params), []
    for _ in range(4):
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update({"w": jnp.ones(1)}, state, params)
        steps.append(-float(updates["w"][0]))
    np.testing.assert_allclose(steps, 0.1 * np.array(wanted), rtol=1e-4, atol=1e-7)


def test_one_step_moves_every_parameter_down_the_gradient_of_the_negative_elbo():
    config = dataclasses.replace(CONFIG, warmup_steps=0, weight_decay=0.0)
    state = init_state(MODEL, config, jax.random.key(0))
    batch = jnp.asarray(images(4) / np.float32(255))
    after, metrics = jitted_step(MODEL, config, state, batch)

    def loss(params):
        terms, _ = MODEL.apply(
            {**state.variables, "params": params},
            batch,
            jax.random.fold_in(state.key, 0),
            method=MODEL.training_terms,
            mutable=["batch_stats"],
        )
        return terms.nelbo.mean()

    value, gradient = jax.jit(jax.value_and_grad(loss))(state.variables["params"])
    assert float(metrics.loss) == pytest.approx(float(value), rel=1e-5)
    # Adam's first step is the learning rate against the sign of each gradient.
    moved = jax.tree.map(lambda new, old: new - old, after.variables["params"], state.variables["params"])
    for step, slope in zip(jax.tree.leaves(moved), jax.tree.leaves(gradient), strict=True):
        large = np.abs(slope) > 1e-3
        np.testing.assert_allclose(np.asarray(step)[large], -1e-3 * np.sign(slope)[large], rtol=1e-2)


def test_the_weight_of_d_rises_to_one():
    config = dataclasses.replace(CONFIG, kl_warmup_steps=4)
    state = init_state(MODEL, config, jax.random.key(0))
    batch = jnp.asarray(images(4))
    for k, weight in ((0, 0.25), (1, 0.5), (3, 1.0), (7, 1.0)):
        _, metrics = jitted_step(MODEL, config, state._replace(step=jnp.asarray(k, jnp.int32)), batch)
        loss, terms = float(metrics.loss), metrics.terms
        assert loss == pytest.approx(weight * float(terms.d) + float(terms.a) + float(terms.m), rel=1e-5)


def test_training_learns():
    """The objective falls below that of the best Gaussian that ignores the image."""
    rng = np.random.default_rng(1)
    ramps = np.clip(rng.uniform(0.2, 0.8, size=(64, 1, 1, 1)) + 0.02 * rng.normal(size=(64, 8, 8, 1)), 0, 1)
    config = dataclasses.replace(CONFIG, steps=400, batch_size=16, evaluate_every=400, steps_per_dispatch=50)
    state = fit(config, images=ramps.astype(np.float32))
    terms = ju.score_images(ju.make_scorer(MODEL, state.variables), ramps.astype(np.float32))
    sd = ramps.std()
    ignorant = 64 * (0.5 * np.log(2 * np.pi * sd**2) + 0.5)
    assert terms.nelbo.mean() < ignorant - 20


def test_many_steps_are_traced_once():
    train_steps.clear_cache()
    state = init_state(MODEL, CONFIG, jax.random.key(0))
    step = chex.assert_max_traces(step_module.train_step, n=1)
    original, step_module.train_step = step_module.train_step, step
    try:
        for count in (4, 1, 3, 2):  # Stops between two full dispatches are no new program.
            indices = np.zeros((4, 4), np.int32)
            state, _ = train_steps(MODEL, CONFIG, state, jnp.asarray(images()), indices, np.int32(count))
    finally:
        step_module.train_step = original
        train_steps.clear_cache()
    assert int(state.step) == 10


def test_several_steps_a_dispatch_are_the_same_as_one():
    batches = batch_indices(jax.random.key(1), 10, 4, 0, 6)
    step = jax.jit(train_step, static_argnums=(0, 1))
    single = init_state(MODEL, CONFIG, jax.random.key(0))
    losses = []
    for batch in batches:
        single, metrics = step(MODEL, CONFIG, single, jnp.asarray(images())[batch])
        losses.append(float(metrics.loss))
    state = init_state(MODEL, CONFIG, jax.random.key(0))
    many, metrics = train_steps(MODEL, CONFIG, state, jnp.asarray(images()), batches, np.int32(6))
    np.testing.assert_allclose(metrics.loss, losses, rtol=1e-4)
    chex.assert_trees_all_close(many.variables, single.variables, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("count", "batch"), [(10, 4), (7, 7), (5, 2)])
def test_every_image_counts_exactly_once_an_epoch(count, batch):
    key = jax.random.key(3)
    row = batch_indices(key, count, batch, 0, 3 * count).ravel()
    epochs = row[: len(row) // count * count].reshape(-1, count)
    for epoch in epochs:
        assert sorted(epoch.tolist()) == list(range(count))
    assert any((epoch != epochs[0]).any() for epoch in epochs[1:])
    # Any part of the row is known without what comes before it.
    np.testing.assert_array_equal(batch_indices(key, count, batch, 5, 4), batch_indices(key, count, batch, 0, 9)[5:])


def test_images_on_the_host_and_on_the_device_train_alike():
    states = [fit(dataclasses.replace(CONFIG, images_on_device=where)) for where in ("yes", "no")]
    chex.assert_trees_all_close(states[0].variables, states[1].variables, rtol=1e-5, atol=1e-6)


def test_the_log_has_every_step_and_the_held_out_curve(tmp_path):
    state = fit(directory=tmp_path, held_out=images(6), evaluate=lambda variables: {"auc": {"m": 0.5}})
    log = records(tmp_path)
    steps = [record for record in log if "loss" in record]
    assert [record["step"] for record in steps] == list(range(1, 13))
    for record in steps:
        assert record["loss"] == pytest.approx(record["d"] + record["a"] + record["m"], rel=1e-5)
        assert record["images_per_second"] > 0
    evaluations = [record for record in log if "held_out" in record]
    assert [record["step"] for record in evaluations] == [5, 10, 12]
    assert all(record["auc"] == {"m": 0.5} for record in evaluations)
    terms = ju.score_images(ju.make_scorer(MODEL, state.variables), images(6))
    assert evaluations[-1]["held_out"]["m"] == pytest.approx(float(terms.m.mean()), rel=1e-5)
    assert evaluations[-1]["held_out"]["loss"] == pytest.approx(float(terms.nelbo.mean()), rel=1e-5)


def test_a_finished_run_is_read_back_and_its_model_loads(tmp_path):
    state = fit(directory=tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    again = fit(directory=tmp_path)
    chex.assert_trees_all_equal(again.variables, state.variables)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    model, variables = ju.load_model(tmp_path / "checkpoints")
    assert model == MODEL
    chex.assert_trees_all_equal(variables, state.variables)


CHILD = """
import sys
import jax, numpy as np
sys.path.insert(0, {root!r})
import jaxunreg as ju
from tests.training.test_training import MODEL, CONFIG, images
ju.fit(MODEL, images(), CONFIG, key=jax.random.key(0), directory={directory!r}, progress=False,
       evaluate=lambda variables: (print("evaluated", flush=True), sys.stdin.readline(), {{}})[-1])
"""


def start(directory: Path) -> subprocess.Popen:
    """Start a run that waits for a line after each evaluation."""
    root = str(Path(__file__).parents[2])
    code = CHILD.format(root=root, directory=str(directory))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    # A process of its own has the eight fake devices as well, so that it compiles the same program.
    return subprocess.Popen([sys.executable, "-c", code], env=os.environ.copy(), **pipes)


def test_a_run_that_was_killed_ends_with_the_same_bits(tmp_path):
    """SIGKILL between the checkpoint of step 6 and the end; the log has by then lines that the checkpoint has not."""
    whole = fit(directory=tmp_path / "whole", evaluate=lambda variables: {})
    child = start(tmp_path / "killed")
    try:
        assert child.stdout.readline() == "evaluated\n"  # Step 5; no checkpoint yet.
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
        assert not list((tmp_path / "killed" / "checkpoints").iterdir())
        child = start(tmp_path / "killed")
        assert child.stdout.readline() == "evaluated\n"  # Step 5 again.
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "evaluated\n"  # Step 10; the checkpoint of step 6 lies between.
        os.kill(child.pid, signal.SIGKILL)
    finally:
        child.kill()
        child.communicate()
    assert [path.name for path in (tmp_path / "killed" / "checkpoints").iterdir()] == ["6"]
    assert records(tmp_path / "killed")[-1]["step"] > 6
    resumed = fit(directory=tmp_path / "killed", evaluate=lambda variables: {})
    chex.assert_trees_all_equal(resumed.variables, whole.variables)
    chex.assert_trees_all_equal(resumed.opt_state, whole.opt_state)

    def without_clock(directory: Path) -> list[dict]:
        return [{k: v for k, v in record.items() if k != "images_per_second"} for record in records(directory)]

    assert without_clock(tmp_path / "killed") == without_clock(tmp_path / "whole")


def test_how_often_a_run_is_looked_at_may_change_while_it_is_stopped(tmp_path):
    def stop(variables) -> dict[str, float]:
        if list((tmp_path / "run" / "checkpoints").iterdir()):
            raise KeyboardInterrupt
        return {}

    whole = fit(directory=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(directory=tmp_path / "run", evaluate=stop)
    how = {"steps_per_dispatch": 3, "evaluate_every": 4, "checkpoint_every": 2, "keep_checkpoints": 3}
    config = dataclasses.replace(CONFIG, **how, loader_threads=0)
    resumed = fit(config, directory=tmp_path / "run")
    chex.assert_trees_all_close(resumed.variables, whole.variables, rtol=1e-4, atol=1e-6)
    with pytest.raises(ju.CheckpointError, match=r"these differ: train.b1 was 0.9, is now 0.8; choose"):
        fit(dataclasses.replace(config, b1=0.8), directory=tmp_path / "run")


def test_a_folder_has_one_run_at_a_time(tmp_path):
    def start_another(variables) -> dict[str, float]:
        with pytest.raises(ju.CheckpointError, match="another run is writing right now"):
            fit(directory=tmp_path / "run")
        return {}

    state = fit(directory=tmp_path / "run", evaluate=start_another)
    fit(directory=tmp_path / "alone", evaluate=lambda variables: {})
    steps = [[record["step"] for record in records(tmp_path / name)] for name in ("run", "alone")]
    assert steps[0] == steps[1]
    # The folder is free again.
    chex.assert_trees_all_equal(fit(directory=tmp_path / "run").variables, state.variables)


def test_where_folders_have_no_locks_a_run_says_so(tmp_path, monkeypatch):
    def without_locks(*_: object) -> None:
        raise OSError("Function not implemented")

    monkeypatch.setattr(fcntl, "flock", without_locks)
    with pytest.warns(UserWarning, match="run/checkpoints cannot be locked; keep other runs out of it"):
        fit(directory=tmp_path / "run")


def test_a_log_line_cut_short_by_a_kill_is_dropped(tmp_path):
    fit(directory=tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 13, "lo')
    fit(directory=tmp_path)
    assert records(tmp_path)[-1]["step"] == 12


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"config": dataclasses.replace(CONFIG, learning_rate=0.5)}, "train.learning_rate was 0.001, is now 0.5"),
        ({"images": images(11)}, r"images.shape was \[10, 8, 8, 1\], is now \[11, 8, 8, 1\]"),
        ({"images": 255 - images()}, "images.sha256 was"),
    ],
)
def test_a_directory_with_another_run_is_refused_and_left_alone(tmp_path, change, said):
    fit(directory=tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(ju.CheckpointError, match=said):
        fit(change.pop("config", CONFIG), directory=tmp_path, **change)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    step = step_module.train_step

    def poisoned(model, config, state, batch):
        new, metrics = step(model, config, state, batch)
        return new, metrics._replace(loss=jnp.where(new.step > 8, jnp.nan, metrics.loss))

    monkeypatch.setattr(step_module, "train_step", poisoned)
    train_steps.clear_cache()
    with pytest.raises(ju.NonFiniteLossError, match="loss of nan at step 9.*checkpoint, of step 6, is kept"):
        fit(directory=tmp_path)
    train_steps.clear_cache()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["6"]
    monkeypatch.undo()
    assert int(fit(directory=tmp_path).step) == 12


def test_parameters_that_are_not_finite_are_never_saved(tmp_path, monkeypatch):
    step = step_module.train_step

    def poisoned(model, config, state, batch):
        new, metrics = step(model, config, state, batch)
        variables = jax.tree.map(lambda leaf: jnp.where(new.step == 12, jnp.nan, leaf), new.variables)
        return new._replace(variables=variables), metrics

    monkeypatch.setattr(step_module, "train_step", poisoned)
    train_steps.clear_cache()
    with pytest.raises(ju.NonFiniteLossError, match="parameter that is NaN or infinite at step 12"):
        fit(directory=tmp_path)
    with pytest.raises(ju.NonFiniteLossError, match="parameter"):
        fit()
    train_steps.clear_cache()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["6"]


def test_a_huge_learning_rate_really_runs_into_the_stop():
    config = dataclasses.replace(CONFIG, learning_rate=1e30, warmup_steps=0, schedule="constant")
    with pytest.raises(ju.NonFiniteLossError, match="no checkpoint had been saved; lower learning_rate"):
        fit(config)


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(
    ("bad", "error", "said"),
    [
        (images(3), ValueError, "3 training images with batch_size=4"),
        (images()[:0], ValueError, "empty"),
        (images()[:, :4], ValueError, r"\[N, 8, 8, 1\]"),
        (np.repeat(images(), 3, axis=3), ValueError, r"\[N, 8, 8, 1\]"),
        (images().astype(np.int32), TypeError, "int32"),
        (images().astype(np.float32), ValueError, "divide by 255"),
        (np.full((10, 8, 8, 1), np.nan, np.float32), ValueError, "NaN"),
    ],
)
def test_bad_images_are_refused_before_anything_is_written(tmp_path, bad, error, said):
    with pytest.raises(error, match=said):
        fit(images=bad, directory=tmp_path / "run")
    with pytest.raises(error, match=said.replace("3 training images with batch_size=4", "expected")):
        fit(held_out=bad if len(bad) != 3 else bad[:, :4], directory=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_unwritable_directory_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ju.CheckpointError, match="writable folder"):
        fit(directory=tmp_path / "file" / "run")


@pytest.mark.usefixtures("no_type_checks")
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"steps": 0}, "steps=0; expected at least 1"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"steps_per_dispatch": 0}, "steps_per_dispatch=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"weight_decay": -1.0}, "weight_decay=-1.0"),
        ({"b2": 1.0}, "b2=1.0"),
        ({"schedule": "step"}, "schedule='step'; expected one of"),
        ({"images_on_device": "maybe"}, "images_on_device='maybe'"),
        ({"steps": 5, "warmup_steps": 5}, "fewer warm-up steps"),
        ({"kl_warmup_steps": -1}, "kl_warmup_steps=-1"),
    ],
)
def test_a_training_config_out_of_range_says_why(fields, said):
    with pytest.raises(ValueError, match=said):
        ju.TrainConfig(**fields)


def test_the_bar_shows_the_terms_and_the_throughput(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    ju.fit(MODEL, images(), CONFIG, key=jax.random.key(0), progress=True, description="tile A")
    shown = capsys.readouterr().err
    for part in ("tile A", "12/12", "loss", " D ", " A ", " M ", "images/s"):
        assert part in shown


def test_the_bar_of_an_autoencoder_shows_its_error_with_its_digits_and_no_terms(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    model = ju.Autoencoder(ju.AutoencoderConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
    ju.fit(model, images(), CONFIG, key=jax.random.key(0), progress=True)
    shown = capsys.readouterr().err
    assert re.search(r"loss 0\.\d{2,}  \d+ images/s", shown)


def test_one_key_gives_the_same_bits_twice():
    """Two runs from one key give the same bits."""
    chex.assert_trees_all_equal(fit().variables, fit().variables)


def test_a_log_without_a_terminal_gets_a_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(run.ProgressBar, "SECONDS_A_LINE", 0.0)
    ju.fit(MODEL, images(), CONFIG, key=jax.random.key(0), progress=True, description="tile A")
    lines = [line for line in capsys.readouterr().err.splitlines() if re.match(r"tile A \d+/\d+  loss ", line)]
    assert len(lines) > 1
    assert lines[-1].startswith(f"tile A {CONFIG.steps}/{CONFIG.steps}  loss ")
    assert all("images/s" in line for line in lines)
