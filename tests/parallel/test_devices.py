"""Training on several devices gives the numbers of one, with the statistics of the whole batch."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import jaxunreg as ju
from jaxunreg.parallel.mesh import AXIS, data_mesh, local, replicate
from jaxunreg.training.batches import make_batches, select
from jaxunreg.training.state import init_state
from jaxunreg.training.step import train_steps
from tests.parallel.collectives import COLLECTIVE

MODEL = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 1), depth=2, base_channels=4, latent_dim=3))
CONFIG = ju.TrainConfig(steps=20, batch_size=16, steps_per_dispatch=5, evaluate_every=10, checkpoint_every=10)
FLOATS = np.random.default_rng(0).uniform(0.1, 0.9, (40, 8, 8, 1)).astype(np.float32)


def fit(images: np.ndarray = FLOATS, **options) -> ju.TrainState:
    return ju.fit(MODEL, images, CONFIG, key=jax.random.key(0), progress=False, **options)


def distance(a: ju.TrainState, b: ju.TrainState) -> float:
    leaves = (jax.tree.leaves(state.variables) for state in (a, b))
    return max(float(np.abs(x - y).max()) for x, y in zip(*leaves, strict=True))


@pytest.fixture(scope="module")
def alone() -> ju.TrainState:
    """Twenty steps on one device."""
    return fit()


@pytest.fixture(scope="module")
def rounding(alone) -> float:
    """How far the last bit of the images moves parameters and statistics in twenty steps on one device."""
    return distance(alone, fit(np.nextafter(FLOATS, np.float32(1))))


class StoppedError(Exception):
    pass


def test_eight_devices_train_as_one_and_go_on_as_one(alone, rounding, tmp_path):
    """Parameters and batch statistics after 20 steps; and eight devices to step 10, then one."""
    assert 0 < rounding < 1e-4
    together = fit(devices=jax.devices(), held_out=FLOATS, directory=tmp_path / "whole")
    assert all(len(leaf.devices()) == 1 for leaf in jax.tree.leaves(together))
    assert distance(together, alone) < 4 * rounding

    def stop(variables):
        if (tmp_path / "stopped" / "checkpoints" / "10").exists():
            raise StoppedError
        return {}

    with pytest.raises(StoppedError):
        fit(devices=jax.devices(), directory=tmp_path / "stopped", evaluate=stop)
    resumed = fit(directory=tmp_path / "stopped")
    assert distance(resumed, alone) < 4 * rounding
    held_out = ju.score_images(ju.make_scorer(MODEL, alone.variables), FLOATS).m.mean()
    last = re.findall(r'"held_out": .*"m": ([\d.]+)', (Path(tmp_path) / "whole" / "metrics.jsonl").read_text())[-1]
    assert float(last) == pytest.approx(float(held_out), rel=1e-4)


def test_images_that_are_sent_train_alike_and_only_sums_go_between_devices(alone, rounding):
    """The program of the mesh, on batches that are split where they are made: its text, and what it does."""
    mesh = data_mesh()
    state = replicate(init_state(MODEL, CONFIG, jax.random.key(0)), mesh)
    batches = feed(FLOATS, "no", mesh)
    program = train_steps.lower(MODEL, CONFIG, state, *batches.steps(0, 5), np.int32(5)).compile()
    assert set(COLLECTIVE.findall(program.as_text())) == {"all-reduce"}
    for start in range(0, 20, 5):
        images, indices = batches.steps(start, 5)
        state, _ = program(state, images, indices, np.int32(5))
    assert distance(local(state), alone) < 4 * rounding


def feed(images, where: str, mesh):
    config = {"batch_size": 16, "steps": 20, "steps_per_dispatch": 5, "threads": 0}
    key = jax.random.split(jax.random.key(0))[1]
    return make_batches(images, (8, 8, 1), key, on_device=where, mesh=mesh, **config)


@pytest.mark.parametrize(
    "images", [FLOATS, [np.pad(image, ((0, k), (2, 0), (0, 0))) for k, image in enumerate(FLOATS)]]
)
@pytest.mark.parametrize("where", ["yes", "no"])
def test_a_mesh_is_fed_the_same_batches_a_part_to_each_device(images, where):
    mesh = data_mesh()
    source, indices = feed(images, where, mesh).steps(3, 4)
    split, whole = (indices, source) if where == "yes" else (source, indices)
    assert split.sharding.spec == PartitionSpec(None, AXIS)
    assert {part.data.shape[1] for part in split.addressable_shards} == {2}
    assert where == "no" or whole.sharding.is_fully_replicated
    want_source, want_indices = feed(images, "yes", None).steps(3, 4)
    for k in range(4):
        want = select(want_source, jnp.asarray(want_indices[k]), (8, 8, 1))
        np.testing.assert_array_equal(select(source, jnp.asarray(indices[k]), (8, 8, 1)), want)


def test_a_batch_that_the_devices_do_not_divide_names_both():
    said = r"batch_size=16 with 3 devices; expected a multiple.*batch_size=15 or 18"
    with pytest.raises(ValueError, match=said):
        fit(devices=jax.devices()[:3])
    with pytest.raises(ValueError, match="named twice"):
        fit(devices=jax.devices()[:1] * 2)
