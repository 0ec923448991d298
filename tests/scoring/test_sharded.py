"""The sharded scorer: several devices give the numbers of one, without communication."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

import jaxunreg as ju
from jaxunreg.parallel.mesh import AXIS, data_mesh
from jaxunreg.scoring import sharded
from jaxunreg.scoring.tiled import patch_terms
from tests.parallel.collectives import COLLECTIVE

pytestmark = pytest.mark.slow


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
    """Only the images move while scoring, and they move explicitly."""
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
