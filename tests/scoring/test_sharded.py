"""Several devices give the numbers of one: scoring without communication, training with whole-batch statistics."""

import dataclasses
import re
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import jaxunreg as ju
from jaxunreg.parallel import processes
from jaxunreg.parallel.mesh import AXIS, data_mesh, local, replicate
from jaxunreg.scoring import sharded
from jaxunreg.scoring.tiled import patch_terms
from jaxunreg.training.batches import make_batches, select
from jaxunreg.training.state import init_state
from jaxunreg.training.step import train_steps

COLLECTIVE = re.compile(r"\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(?:-start)?\(")


@pytest.fixture(scope="module")
def scorer() -> ju.Scorer:
    model = ju.VAE(ju.VAEConfig(image_shape=(8, 8, 2), depth=2, base_channels=4, latent_dim=3))
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 2)))
    # Running averages that differ from their start, so that a test sees whether they are used.
    variables = {**variables, "batch_stats": jax.tree.map(lambda leaf: leaf + 0.3, variables["batch_stats"])}
    return ju.make_scorer(model, variables)


@pytest.fixture(scope="module", params=["shard_map-8", "shard_map-1", "pmap-8"])
def shard(request, scorer) -> ju.ShardedScorer:
    backend, devices = request.param.split("-")
    return ju.sharded_scorer(scorer, jax.devices()[: int(devices)], backend=backend, batch_size=2)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(150, 8, 8, 2), dtype=np.uint8)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, size=(19, 14, 2), dtype=np.uint8)


@pytest.fixture(scope="module")
def wanted(scorer, images) -> ju.Decomposition:
    return ju.score_images(scorer, images, batch_size=8)


def part(terms: ju.Decomposition, count: int) -> ju.Decomposition:
    return jax.tree.map(lambda leaf: leaf[:count], terms)


# The sharded scorer.


def test_a_ragged_stream_scores_as_on_one_device_by_one_program(shard, images, wanted, compiled):
    """A call takes 64 on eight devices and 8 on one: none, fewer than devices, exact multiples, and several calls."""
    compiled.clear()
    shard(images[:1])
    assert compiled
    compiled.clear()
    for count in (0, 1, 7, 16, 37, 150):
        scores = shard(images[:count])
        assert isinstance(scores.m, np.ndarray)
        assert scores.m.dtype == np.float32
        assert scores.m.shape == (count,)
        chex.assert_trees_all_close(scores, part(wanted, count), rtol=1e-4)
    assert not compiled


def test_floats_and_arrays_on_a_device_score_alike(scorer, images, wanted):
    shard = ju.sharded_scorer(scorer, batch_size=2)
    chex.assert_trees_all_close(shard(jnp.asarray(images[:5] / np.float32(255))), part(wanted, 5), rtol=1e-4)


def test_the_patches_of_one_image_are_spread_and_come_back_in_their_places(shard, scorer, picture):
    want = ju.score_image(scorer, picture, stride=3)
    got = shard.score_image(picture, stride=3, patch=8)
    assert got.m.shape == want.m.shape
    chex.assert_trees_all_close(got, want, rtol=1e-4)


def test_fewer_patches_than_devices(scorer, picture):
    want = ju.score_image(scorer, picture, stride=11)
    got = ju.sharded_scorer(scorer, batch_size=2).score_image(picture, stride=11)
    assert got.m.shape == (2, 2)
    chex.assert_trees_all_close(got, want, rtol=1e-4)


def test_the_heat_map_is_that_of_one_device(shard, scorer, picture):
    term = "nelbo" if shard.backend == "pmap" else "m"
    want = ju.heat_map(scorer, picture, stride=3, term=term)
    np.testing.assert_allclose(shard.heat_map(picture, stride=3, term=term), want, rtol=1e-4)


@pytest.mark.parametrize("backend", ["shard_map", "pmap"])
def test_nothing_is_sent_between_devices(scorer, images, picture, backend):
    """No collective in the text of what was compiled, by the names that a sum over the mesh is seen to have there."""
    shard = ju.sharded_scorer(scorer, backend=backend, batch_size=2)
    corners = np.zeros((16, 2, 2), np.int32)
    for function, shared, split in (
        (sharded._batch_terms, np.int32(1), images[:64].reshape(32, 2, 8, 8, 2)),
        (patch_terms, picture, corners),
        (sharded._patch_sum("m"), picture, (corners, np.ones((16, 2), np.float32))),
    ):
        program, arguments = shard._prepare(function, shared, split)
        text = program.lower(*arguments).compile().as_text()
        assert "ENTRY" in text
        assert not COLLECTIVE.findall(text)


def test_a_sum_over_the_mesh_would_be_seen():
    mesh, spec = data_mesh(), PartitionSpec(AXIS)
    total = jax.shard_map(lambda x: jax.lax.psum(x, AXIS), mesh=mesh, in_specs=spec, out_specs=PartitionSpec())
    assert COLLECTIVE.findall(jax.jit(total).lower(jnp.zeros(8)).compile().as_text()) == ["all-reduce"]


@pytest.mark.parametrize("backend", ["shard_map", "pmap"])
def test_the_parameters_are_sent_once(scorer, images, monkeypatch, backend):
    """What moves while scoring moves explicitly, and that is the images alone."""
    shard = ju.sharded_scorer(scorer, backend=backend, batch_size=2)
    for leaf in jax.tree.leaves(shard.scorer):
        assert leaf.sharding.device_set == set(jax.devices())
        assert all(np.array_equal(one.data, leaf.addressable_shards[0].data) for one in leaf.addressable_shards)
    shard(images[:3])
    sent = []
    put = jax.device_put
    monkeypatch.setattr(jax, "device_put", lambda tree, *args: (sent.append(tree), put(tree, *args))[-1])
    with jax.transfer_guard("disallow"):
        for count in (5, 150):
            shard(images[:count])
    # Four calls, each with its images and the number of batches.
    sizes = [leaf.nbytes for leaf in jax.tree.leaves(sent)]
    assert sum(size == 64 * 8 * 8 * 2 for size in sizes) == 4
    assert sum(size for size in sizes if size != 64 * 8 * 8 * 2) <= 4 * 8 * 4


def test_the_guard_sees_parameters_that_are_not_on_the_devices(scorer, images):
    shard = ju.sharded_scorer(scorer, batch_size=2)
    elsewhere = dataclasses.replace(shard, scorer=jax.tree.map(np.asarray, shard.scorer))
    with jax.transfer_guard("disallow"), pytest.raises(Exception, match="Disallowed"):
        elsewhere(images[:3])


def test_it_runs_on_the_devices_it_was_given(scorer, images, wanted):
    devices = jax.devices()[2:5]
    shard = ju.sharded_scorer(scorer, devices, batch_size=3)
    program, arguments = shard._prepare(sharded._batch_terms, np.int32(1), images[:36].reshape(12, 3, 8, 8, 2))
    assert program(*arguments).m.sharding.device_set == set(devices)
    chex.assert_trees_all_close(shard(images), wanted, rtol=1e-4)


@pytest.mark.usefixtures("no_type_checks")
def test_what_cannot_be_sharded_is_refused(scorer, images, picture):
    one, two = jax.devices()[:2]
    for options, said in (
        ({"devices": []}, r"devices=\[\]; expected at least one"),
        ({"devices": [one, two, one]}, "named twice: .*0"),
        ({"backend": "xmap"}, r"backend='xmap'; expected one of \['shard_map', 'pmap'\]"),
        ({"batch_size": 0}, "batch_size=0; expected at least 1"),
    ):
        with pytest.raises(ValueError, match=said):
            ju.sharded_scorer(scorer, **options)
    shard = ju.sharded_scorer(scorer, batch_size=2)
    for bad, error, said in (
        (images[:, :4], ValueError, r"\[N, 8, 8, 2\]"),
        (images[:0, :4], ValueError, r"\[N, 8, 8, 2\]"),
        (images[:0].astype(np.int32), TypeError, "int32"),
        (images.astype(np.float32), ValueError, "divide by 255"),
    ):
        with pytest.raises(error, match=said):
            shard(bad)
    with pytest.raises(ValueError, match="patch=16"):
        shard.score_image(picture, stride=4, patch=16)
    with pytest.raises(ValueError, match="stride=9; expected 1 to 8"):
        shard.heat_map(picture, stride=9)
    with pytest.raises(ValueError, match="term='l'"):
        shard.heat_map(picture, stride=4, term="l")


def test_what_is_no_array_is_named(scorer, images, no_type_checks):
    with pytest.raises(TypeError, match="got list; expected a NumPy or JAX array"):
        ju.sharded_scorer(scorer, batch_size=2)(list(images))


def test_inside_of_a_program_it_says_what_to_use(scorer, images, picture):
    shard = ju.sharded_scorer(scorer, batch_size=2)
    with pytest.raises(TypeError, match=r"inside of jit.*jax.vmap\(scorer\)"):
        jax.jit(lambda x: shard(x).m)(images / np.float32(255))
    with pytest.raises(TypeError, match="inside of jit"):
        jax.jit(lambda x: shard.heat_map(x, stride=4))(picture)


# Training.

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


def test_one_process_is_the_first_and_has_all():
    mesh = data_mesh()
    assert processes.is_first(mesh)
    assert processes.share(5) == slice(0, 5)
    tree = {"a": np.arange(3), "b": np.ones((2, 2))}
    chex.assert_trees_all_equal(processes.gather(tree), tree)
    key = jax.random.key(3)
    assert local(replicate(key, mesh)) == key


def test_starting_comes_first_and_needs_a_cluster(monkeypatch):
    hook = sys.excepthook
    with pytest.raises(RuntimeError, match="before"):
        processes.start("127.0.0.1:1", 1, 0)

    def none_found(*args, **options):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", none_found)
    with pytest.raises(
        ValueError, match="processes=None.*coordinator_address.*expected all three, or a start by SLURM"
    ):
        processes.start()
    assert sys.excepthook is hook
